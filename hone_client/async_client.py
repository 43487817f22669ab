"""The same client for asyncio: each request runs in a thread, so that the loop goes on meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hone_client.client import Hone, Project
from hone_client.records import (
    Chat,
    ChatAction,
    Decided,
    Exam,
    ExamItem,
    Import,
    Listed,
    NextTask,
    Orders,
    ProjectRecord,
    Run,
    Snapshot,
    Submitted,
    Task,
)

if TYPE_CHECKING:
    import datasets
    import pandas

Row = TypeVar("Row")
_END: Any = object()


class AsyncHone:
    """As Hone."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0) -> None:
        self._hone = Hone(url, token, timeout=timeout)

    async def me(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._hone.me)

    def projects(self) -> AsyncIterator[ProjectRecord]:
        return _in_threads(self._hone.projects)

    def project(self, slug: str) -> "AsyncProject":
        return AsyncProject(self._hone.project(slug))


class AsyncProject:
    """As Project; its methods are coroutines, its lists asynchronous iterators."""

    def __init__(self, project: Project) -> None:
        self._project = project

    async def read(self) -> ProjectRecord:
        return await asyncio.to_thread(self._project.read)

    async def guidelines(self) -> str:
        return await asyncio.to_thread(self._project.guidelines)

    async def figures(self) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._project.figures)

    def rows(self, what: Listed, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        return _in_threads(lambda: self._project.rows(what, **filters))

    def responses_to(self, prompt: int) -> AsyncIterator[dict[str, Any]]:
        return _in_threads(lambda: self._project.responses_to(prompt))

    def metrics(self, run: int, name: str = "") -> AsyncIterator[dict[str, Any]]:
        return _in_threads(lambda: self._project.metrics(run, name))

    async def to_pandas(self, what: Listed, **filters: Any) -> "pandas.DataFrame":
        return await asyncio.to_thread(self._project.to_pandas, what, **filters)

    async def import_rows(self, rows: Iterable[Mapping[str, Any]], **wanted: Any) -> list[Import]:
        return await asyncio.to_thread(self._project.import_rows, rows, **wanted)

    async def rejected_rows(self, imported: Import) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._project.rejected_rows, imported)

    async def export(self, kind: str, **wanted: Any) -> Snapshot:
        return await asyncio.to_thread(self._project.export, kind, **wanted)

    async def download(self, snapshot: Snapshot, folder: str | Path) -> list[Path]:
        return await asyncio.to_thread(self._project.download, snapshot, folder)

    async def to_dataset(self, kind: str, **wanted: Any) -> "datasets.DatasetDict":
        return await asyncio.to_thread(self._project.to_dataset, kind, **wanted)

    async def next_task(self) -> Task | None:
        return await asyncio.to_thread(self._project.next_task)

    async def next_or_reason(self) -> NextTask:
        return await asyncio.to_thread(self._project.next_or_reason)

    async def save_draft(self, task: Task, **fields: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._project.save_draft, task, **fields)

    async def submit(self, task: Task, **fields: Any) -> Submitted:
        return await asyncio.to_thread(self._project.submit, task, **fields)

    async def skip(self, task: Task, reason: str = "", note: str = "") -> None:
        await asyncio.to_thread(self._project.skip, task, reason, note)

    async def undo(self, task: Task) -> Task:
        return await asyncio.to_thread(self._project.undo, task)

    async def chat(self, task: Task) -> Chat:
        return await asyncio.to_thread(self._project.chat, task)

    async def continue_chat(self, task: Task, action: ChatAction, **wanted: Any) -> Chat:
        return await asyncio.to_thread(self._project.continue_chat, task, action, **wanted)

    async def wait_for_responses(self, task: Task, *, seconds: float = float("inf")) -> Chat:
        return await asyncio.to_thread(self._project.wait_for_responses, task, seconds=seconds)

    async def next_adjudication(self) -> Task | None:
        return await asyncio.to_thread(self._project.next_adjudication)

    async def take_adjudication(self, task: int) -> Task:
        return await asyncio.to_thread(self._project.take_adjudication, task)

    async def orders(self, task: Task) -> Orders:
        return await asyncio.to_thread(self._project.orders, task)

    async def save_adjudication_draft(self, task: Task, **fields: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._project.save_adjudication_draft, task, **fields)

    async def decide(self, task: Task, **fields: Any) -> Decided:
        return await asyncio.to_thread(self._project.decide, task, **fields)

    async def skip_adjudication(self, task: Task, reason: str = "", note: str = "") -> None:
        await asyncio.to_thread(self._project.skip_adjudication, task, reason, note)

    async def undo_adjudication(self, task: Task) -> Task:
        return await asyncio.to_thread(self._project.undo_adjudication, task)

    async def set_aside(self, judgment: int) -> None:
        await asyncio.to_thread(self._project.set_aside, judgment)

    async def exam(self) -> Exam:
        return await asyncio.to_thread(self._project.exam)

    async def start_exam(self) -> Exam:
        return await asyncio.to_thread(self._project.start_exam)

    async def save_exam_draft(self, item: ExamItem, **fields: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._project.save_exam_draft, item, **fields)

    async def answer_exam(self, item: ExamItem, ranks: Mapping[str, int | None], **fields: Any) -> Exam:
        return await asyncio.to_thread(self._project.answer_exam, item, ranks, **fields)

    async def start_run(self, stage: str, **wanted: Any) -> Run:
        return await asyncio.to_thread(self._project.start_run, stage, **wanted)

    async def measure(self, model: int, file: str | Path, **wanted: Any) -> Run:
        return await asyncio.to_thread(self._project.measure, model, file, **wanted)

    async def run(self, number: int) -> Run:
        return await asyncio.to_thread(self._project.run, number)

    async def cancel_run(self, number: int) -> Run:
        return await asyncio.to_thread(self._project.cancel_run, number)

    async def wait_for_run(self, number: int, *, seconds: float = float("inf")) -> Run:
        return await asyncio.to_thread(self._project.wait_for_run, number, seconds=seconds)


async def _in_threads(rows: Callable[[], Iterator[Row]]) -> AsyncIterator[Row]:
    """A row at a time; a page is asked for in a thread."""
    iterator = await asyncio.to_thread(rows)
    while (row := await asyncio.to_thread(next, iterator, _END)) is not _END:
        yield row
