"""The same client for asyncio: each request runs in a thread, so that the loop goes on meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hone_client.client import Hone, Project
from hone_client.records import Import, Listed, NextTask, ProjectRecord, Run, Snapshot, Submitted, Task

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

    async def start_run(self, stage: str, **wanted: Any) -> Run:
        return await asyncio.to_thread(self._project.start_run, stage, **wanted)

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
