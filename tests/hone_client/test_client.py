"""The Python client against a real server: the walk-through of docs/api.md, and what a client meets on the way."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from annotate import signals
from annotate.data import snapshots
from annotate.labeling import exam
from annotate.models import ChatTurn, Demonstration, IdempotentRequest, Judgment, Project, Prompt, Task
from annotate.people import api_tokens
from annotate.people.projects import edit_project
from annotate.quality import consensus
from hone_client import AsyncHone, AsyncProject, Hone, HoneError, transport
from hone_client import Project as ClientProject
from rlhf.models import TrainingRun
from tests.annotate.quality.test_consensus import judged
from tests.factories.cast import Cast, make_cast, make_comparison, response_ids

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/api.md"
Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def server(replies: list[Reply]) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """Its address, and the requests that came: each gets the next reply."""
    asked: list[tuple[str, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, dict(self.headers)))
            status, headers, body = replies[len(asked) - 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = reply  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", asked
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", found.append)
    return found


def test_it_waits_as_it_is_told_and_sends_the_same_again(waits: list[float]) -> None:
    busy = json.dumps({"detail": "One moment.", "status": 429}).encode()
    run = json.dumps({"id": 1, "status": "queued"}).encode()
    with server([(429, {"Retry-After": "7"}, busy), (503, {}, b"<h1>"), (201, {}, run)]) as (url, asked):
        found = Hone(url, "hone_x").project("a project").start_run("sft")
    assert found["id"] == 1
    assert waits == [7.0, 0.5]
    assert {(method, path) for method, path, _headers in asked} == {("POST", "/api/v1/projects/a%20project/runs")}
    assert len({headers["Idempotency-Key"] for _method, _path, headers in asked}) == 1
    assert {headers["Authorization"] for _method, _path, headers in asked} == {"Bearer hone_x"}


def test_it_gives_up_with_the_sentence(waits: list[float]) -> None:
    busy = json.dumps({"detail": "One moment.", "status": 503}).encode()
    with server([(503, {}, busy)] * 5) as (url, asked), pytest.raises(HoneError, match="One moment") as refused:
        Hone(url, "hone_x").me()
    assert (refused.value.status, len(asked), waits) == (503, 5, [0.25, 0.5, 1.0, 2.0])
    with pytest.raises(OSError, match="refused"):
        Hone(url, "hone_x").me()


def test_a_token_goes_to_no_other_address(waits: list[float]) -> None:
    with server([]) as (elsewhere, asked_elsewhere), server([(302, {"Location": elsewhere}, b"")]) as (url, _asked):
        with pytest.raises(HoneError) as refused:
            Hone(url, "hone_secret").me()
        assert refused.value.status == 302
        assert asked_elsewhere == []
    assert "secret" not in repr(Hone(url, "hone_secret").project("x")) + repr(Hone(url, "hone_secret").transport)
    with pytest.raises(ValueError, match="no address"):
        Hone("file:///etc/passwd", "hone_x")


def test_a_file_that_came_otherwise_is_refused(tmp_path: Path) -> None:
    snapshot: Any = {"id": 1, "files": [{"name": "../x.jsonl", "rows": 1, "bytes": 2, "sha256": "0" * 64}]}
    with server([(200, {}, b"{}")]) as (url, _asked), pytest.raises(ValueError, match="another hash"):
        Hone(url, "hone_x").project("x").download(snapshot, tmp_path / "in")
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_rows_are_sent_in_requests_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    done = json.dumps({"id": None, "state": "done", "progress": 1.0, "summary": "", "report": None}).encode()
    monkeypatch.setattr("hone_client.client.MOST_ROWS", 2)
    with server([(200, {}, done)] * 3) as (url, asked):
        imports = Hone(url, "hone_x").project("x").import_rows(({"prompt": str(n)} for n in range(5)), key="k")
    assert len(imports) == 3
    assert [headers["Idempotency-Key"] for _method, _path, headers in asked] == ["k-0", "k-1", "k-2"]


@pytest.fixture
def built_at_once(transactional_db: None) -> Iterator[None]:
    """In the place of a worker: what is asked for is made in the request."""

    def build(snapshot_id: int, **values: Any) -> None:
        snapshots.build(snapshot_id)

    signals.snapshot_requested.connect(build)
    yield
    signals.snapshot_requested.disconnect(build)


@pytest.mark.both_databases
def test_the_walk_through(
    built_at_once: None,
    live_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every block of docs/api.md, one after the other, as a reader would run them."""
    cast = make_cast()
    _token, secret = api_tokens.make(user=cast.manager, name="walk-through", scopes=api_tokens.SCOPES, days=7)
    text = DOCUMENT.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert code.count("http://127.0.0.1:8000") == code.count("hone_…") == 2
    code = code.replace("http://127.0.0.1:8000", live_server.url).replace("hone_…", secret)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    said = capsys.readouterr().out
    assert "2 rows read: 2 prompts, 1 demonstrations, 1 tasks." in said
    assert Prompt.objects.count() == 2
    assert Demonstration.objects.count() == IdempotentRequest.objects.filter(key="birds-1-0").count() == 1
    latest = Judgment.objects.get().latest
    assert (latest.comment, names["judgments"]["tiers"].tolist()) == ("by length", [latest.tiers])
    assert sum(split.num_rows for split in names["splits"].values()) == 1
    assert {path.name for path in (tmp_path / "rankings").iterdir()} == {
        file["name"] for file in names["snapshot"]["files"]
    }
    assert TrainingRun.objects.get().status == "cancelled"
    assert "400 " in said
    assert said.strip().endswith("2")
    # The same import again, as by a program that died half-way.
    names["project"].import_rows(names["rows"], key="birds-1")
    assert Prompt.objects.count() == 2
    by_the_functions_of_the_walk_through(cast, names)
    asyncio.run(every_coroutine(live_server.url, secret))


def by_the_functions_of_the_walk_through(cast: Cast, names: dict[str, Any]) -> None:
    """Those that need a chat, an exam or a disagreement, which the walk-through's project has none of."""
    edit_project(project=cast.project, by=cast.manager, task_kinds=["compare", "chat"])
    Task.objects.create(project=cast.project, kind="chat", prompt=Prompt.objects.first(), slots_free=1)
    task = names["project"].next_task()
    assert names["chat_and_hand_in"](task, "And ducks?") == {
        **dict.fromkeys(("repeated", "revised", "surplus"), False),
        "next": None,
    }
    assert [turn.text for turn in ChatTurn.objects.order_by("number")] == [
        "Hens lay eggs.",
        "And ducks?",
        "Hens lay eggs.",
    ]
    known = make_comparison(cast.project, "Known?", ("The longest.", "Shorter."))
    Task.objects.filter(pk=known.pk).update(gold_tiers=[[number] for number in response_ids(known)])
    known.refresh_from_db()
    exam.add_item(task=known, by=cast.manager)
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
    assert names["take_exam"]()["passed"]
    edit_project(project=cast.project, by=cast.manager, exam_threshold=None)
    Project.objects.filter(pk=cast.project.pk).update(overlap=2, review_below=0.5)
    disputed = make_comparison(cast.project, "Which?", ("The longest one.", "Short."))
    judged(disputed, cast.labeler, "A > B")
    judged(disputed, cast.second_labeler, "B > A")
    Task.objects.filter(pk=disputed.pk).update(slots_free=0)
    consensus.refresh_due()
    names["decide_what_waits"]()
    decision = Judgment.objects.get(Judgment.ADJUDICATED, task=disputed)
    assert decision.latest is not None
    assert decision.latest.comment == "the longer one"


async def every_coroutine(url: str, secret: str) -> None:
    hone = AsyncHone(url, secret)
    assert (await hone.me())["username"] == "manager"
    assert [project["slug"] async for project in hone.projects()] == ["kindness"]
    project = hone.project("kindness")
    assert (await project.read())["slug"] == "kindness"
    assert await project.guidelines() == "Rank by **kindness**."
    figures = await project.figures()
    assert figures is not None
    assert figures["prompts"] == len([row async for row in project.rows("prompts")])
    odd = [{"ask": "Who?", "say": "A hen.", "score": "high"}]
    (imported,) = await project.import_rows(odd, columns={"prompt": "ask", "response": "say"})
    (left,) = await project.rejected_rows(imported)
    assert (left["place"], left["reason"]) == ("line 1", "its rating is no number")
    (imported,) = await project.import_rows([{"prompt": "Async?", "responses": [{"text": "a"}, {"text": "b"}]}])
    assert imported["state"] == "done"
    task = await project.next_task()
    assert task is not None
    assert (await project.save_draft(task, comment="later"))["kept"]
    await project.skip(task, "broken")
    assert (await project.next_or_reason())["task"] is None
    assert len(await project.to_pandas("people")) == 5
    assert (await project.undo(task))["id"] == task["id"]
    await project.skip(task, "broken")
    assert ((await project.exam())["last"] or {})["passed"] is True
    assert await project.next_adjudication() is None
    (decided,) = [row async for row in project.rows("adjudications")]
    assert [row async for row in project.rows("adjudications/waiting")] == []
    await project.set_aside(decided["judgment"])
    run = await project.start_run("reward")
    assert (await project.cancel_run(run["id"]))["status"] == "cancelled"
    assert (await project.wait_for_run(run["id"]))["id"] == (await project.run(run["id"]))["id"]


def test_both_clients_have_the_same_methods() -> None:
    def public(of: type) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    assert public(ClientProject) - public(AsyncProject) == {"call"}
    assert public(AsyncProject) <= public(ClientProject)
    assert public(Hone) == public(AsyncHone)
