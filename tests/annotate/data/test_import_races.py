"""Imports beside each other and beside people, on a database where two may write at once."""

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from annotate.data import imported_rows
from annotate.data.imports import ImportReport, import_file
from annotate.models import Author, Judgment, Prompt, Response
from tests.factories.cast import make_cast

pytestmark = pytest.mark.django_db(transaction=True)
MEET_SECONDS = 3.0


@pytest.fixture(autouse=True)
def only_where_two_may_write(transactional_db: None) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one write lock: nobody writes between the first and the last step of a batch")


def in_thread(action: Callable[[], object]) -> Callable[[], object]:
    """With a connection of its own, closed at the end."""

    def run() -> object:
        try:
            return action()
        finally:
            connection.close()

    return run


def at_once(*key_actions: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(key_actions)) as pool:
        return [future.result(60) for future in [pool.submit(in_thread(action)) for action in key_actions]]


def question(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Question {number}?"}]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("way", ["prompt", "opening"])
def test_a_prompt_that_somebody_writes_between_the_look_and_the_write_is_the_same_one(tmp_path, monkeypatch, way):
    cast = make_cast()
    chat = [*question(3), {"role": "assistant", "content": "No."}, *question(99)]
    rows = [{"id": f"r{n}", "prompt": question(n), "sensitive": True} for n in range(6)]
    if way == "opening":
        rows[3] = {"id": "r3", "prompt": chat, "opening": question(3)}
    path = write(tmp_path / "rows.jsonl", rows)
    make_openings, written = imported_rows.RowStore._make_openings, []

    def written_meanwhile(store, rows, prompts):
        if not written:
            thread = threading.Thread(
                target=in_thread(
                    lambda: written.append(Prompt.objects.create(project=cast.project, messages=question(3)))
                )
            )
            thread.start()
            thread.join()
        return make_openings(store, rows, prompts)

    monkeypatch.setattr(imported_rows.RowStore, "_make_openings", written_meanwhile)
    report = import_file(project=cast.project, path=path, by=cast.manager)
    (theirs,) = written
    assert report.errors == ()
    assert Prompt.objects.filter(project=cast.project, messages=question(3)).get() == theirs
    theirs.refresh_from_db()
    if way == "prompt":
        assert (report.created["prompts"], report.duplicates) == (5, 1)
        assert (theirs.sensitive, theirs.external_id) == (True, "r3")
    else:
        assert (report.created["prompts"], report.duplicates) == (6, 0)
        assert Prompt.objects.get(messages=chat).opening == theirs


def test_two_projects_get_files_of_the_same_models_at_once(tmp_path, monkeypatch):
    """Each names the models in another order, and each has written its first when it comes to its second."""
    cast = make_cast()
    meeting = threading.Barrier(2)
    make_author, at_meeting = imported_rows.RowStore._author, set()

    def meet_after_the_first(store, kind, name):
        author = make_author(store, kind, name)
        if store.project.pk not in at_meeting:
            at_meeting.add(store.project.pk)
            # Where the other one waits for this one's author, it comes afterwards.
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait(MEET_SECONDS)
        return author

    monkeypatch.setattr(imported_rows.RowStore, "_author", meet_after_the_first)

    def rows(*models: str) -> list[dict]:
        responses = [{"text": f"By {model}.", "rank": rank, "model": model} for rank, model in enumerate(models, 1)]
        return [{"id": "r", "prompt": question(1), "responses": responses, "labeler": "Ann"}]

    files = [
        write(tmp_path / f"{'-'.join(models)}.jsonl", rows(*models)) for models in (("gpt", "llama"), ("llama", "gpt"))
    ]
    reports = at_once(
        lambda: import_file(project=cast.project, path=files[0], by=None),
        lambda: import_file(project=cast.other_project, path=files[1], by=None),
    )
    assert [report.created["judgments"] for report in reports] == [1, 1]
    assert Author.objects.filter(name__in=["gpt", "llama"]).count() == 2


def overlapping(tmp_path: Path) -> list[Path]:
    """Two files of 300 rankings each, of which 200 are the same."""
    responses = [{"text": "Yes.", "rank": 1, "model": "a"}, {"text": "No.", "rank": 2, "model": "b"}]
    rows = [{"id": f"r{n}", "prompt": question(n), "responses": responses, "labeler": "Ann"} for n in range(400)]
    return [write(tmp_path / "first.jsonl", rows[:300]), write(tmp_path / "second.jsonl", rows[100:])]


def test_overlapping_files_at_once_bring_each_row_once(tmp_path):
    cast = make_cast()
    first, second = overlapping(tmp_path)
    reports: list[ImportReport] = at_once(
        *(lambda path=path: import_file(project=cast.project, path=path, by=None) for path in (first, second))
    )
    assert sorted((report.created["judgments"], report.duplicates) for report in reports) == [(100, 200), (300, 0)]
    counts = (Prompt.objects.count(), Judgment.objects.count(), Response.objects.count())
    assert counts == (400, 400, 800)


def test_overlapping_uploads_at_once_are_imported_or_refused_in_a_sentence(tmp_path):
    cast = make_cast()

    def upload(path: Path) -> tuple[int, str]:
        client = Client()
        client.force_login(cast.manager)
        with path.open("rb") as file:
            reply = client.post("/p/kindness/prompts/import", {"file": file, "format": "auto"})
        return reply.status_code, reply.content.decode()

    replies = at_once(*(lambda path=path: upload(path) for path in [*overlapping(tmp_path)] * 2))
    statuses = [status for status, _page in replies]
    assert set(statuses) <= {302, 409}
    assert 302 in statuses
    assert all("Another file is being imported into this project" in page for status, page in replies if status == 409)
    assert Judgment.objects.count() in (300, 400)
    assert Prompt.objects.count() == Judgment.objects.count() == Response.objects.count() // 2
