"""Files of a million rankings out, prompts in, and the pages meanwhile: `python -m benchmarks data --rankings N`.

A database is filled by SQL with N comparisons of four responses, each with a judgment by one of 50 labelers. Then each
format is frozen as a snapshot by a process of its own, as the worker makes it; a process imports `--prompts` prompts
from a file of JSON lines; and a manager asks gunicorn for pages, one every `PAUSE` seconds, before and meanwhile. Of
each there are the seconds, the processor's seconds, the rows a second, and by how much the process's memory grew above
what it had before the first row. `--folder` keeps the SQLite database, and takes it as it is where it is there. With
`--peer ADDRESS` and `--peer-token` (or LABEL_STUDIO_TOKEN) the first `--peer-rows` of these rows are put into that
Label Studio, and its own export of them to JSON is timed beside ours of as many, the second of two by each. The last
line is one JSON object:

{"rankings", "parquet": {"seconds", "cpu_s", "rows_per_s", "growth_mb", "file_mb", "pages_p50_ms", "pages_p95_ms"},
 "hone": {}, "import": {"rows", "seconds", ...}, "idle": {"pages_p50_ms", "pages_p95_ms"},
 "peer": {"rows", "seconds", ...}}

The goals at 1,000,000 rankings are GOALS; what misses one is named.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.labeling_queue import PROJECT, web_process
from benchmarks.load import service
from benchmarks.load.browser import Browser, Times
from tests.databases.postgresql import PostgresServer, find_program
from tests.harness.ports import free_port

LABELERS, PAUSE, IDLE_SECONDS = 50, 0.1, 5.0
FORMATS = ("parquet", "hone")
GOALS = {"export seconds": 90.0, "growth_mb": 250.0, "pages_p95_ms": 100.0, "import seconds": 30.0}
GOAL_RANKINGS, GOAL_PROMPTS = 1_000_000, 100_000
PAGES = ("/", f"/p/{PROJECT}/exports/", f"/p/{PROJECT}/prompts/", f"/p/{PROJECT}/work/")
SENTENCE = "Put the egg in cold water and bring it to the boil. "
LABEL_CONFIG = (
    '<View><Text name="prompt" value="$prompt"/><List name="responses" value="$responses"/>'
    '<Ranker name="ranking" toName="responses"/></View>'
)
PEER_BATCH = 1_000


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks data", description=__doc__)
    parser.add_argument("--rankings", type=int, default=GOAL_RANKINGS)
    parser.add_argument("--prompts", type=int, default=GOAL_PROMPTS, help="of the import")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--folder", type=Path, help="keep the SQLite database here")
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS, help="of pages with nothing beside them")
    parser.add_argument("--peer", metavar="ADDRESS", help="of a Label Studio, such as http://127.0.0.1:8090")
    parser.add_argument("--peer-token", default=os.environ.get("LABEL_STUDIO_TOKEN", ""))
    parser.add_argument("--peer-rows", type=int, default=2_000)
    chosen = parser.parse_args(arguments)
    if min(chosen.rankings, chosen.prompts, chosen.peer_rows) < 1:
        parser.error("there must be rows")
    with tempfile.TemporaryDirectory(prefix="hone-data-") as temporary:
        if chosen.database == "sqlite":
            figures = _measured(chosen, chosen.folder or Path(temporary) / "sqlite", Path(temporary), {})
        elif find_program("initdb") is None:
            parser.error("PostgreSQL is not installed")
        else:
            database = PostgresServer.start(Path(temporary) / "postgresql")
            try:
                own = {"DATABASE_URL": database.url}
                figures = _measured(chosen, Path(temporary) / "data", Path(temporary), own)
            finally:
                database.stop()
    for missed in _missed(figures):
        print(missed, flush=True)
    print(json.dumps(figures))
    return 0


def _measured(chosen: argparse.Namespace, data: Path, temporary: Path, environment: dict[str, str]) -> dict[str, Any]:
    port = free_port()
    own = {"HONE_DATA": str(data), "HONE_PORT": str(port), "HONE_LOG_LEVEL": "WARNING"}
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **own, **environment}
    is_new = not data.exists()
    data.mkdir(parents=True, exist_ok=True)
    session = _asked(["fill" if is_new else "session", str(chosen.rankings)], environment)
    print(f"{chosen.rankings:,} rankings ({'filled' if is_new else 'from before'})", flush=True)
    prompts = temporary / "prompts.jsonl"
    write_prompts(prompts, chosen.prompts)
    figures: dict[str, Any] = {"rankings": chosen.rankings, "database": chosen.database}
    with web_process(port, data, environment):
        browser = Browser(port, Times())
        browser.cookies["sessionid"] = session
        for page in PAGES:  # templates and connections
            browser.get(page, page)
        with _asking(browser) as idle:
            time.sleep(chosen.idle_seconds)
        figures["idle"] = _of_pages(idle)
        _say("idle", figures["idle"])
        for format in chosen.formats:
            with _asking(browser) as times:
                figures[format] = _asked(["export", format], environment)
            figures[format] |= _of_pages(times)
            _say(format, figures[format])
        with _asking(browser) as times:
            figures["import"] = _asked(["import", str(prompts)], environment)
        figures["import"] |= _of_pages(times)
        _say("import", figures["import"])
    if chosen.peer:
        ours = _asked(["some", str(chosen.peer_rows)], environment)
        figures["peer"] = ours | of_peer(chosen.peer, chosen.peer_token, ours.pop("tasks"))
        figures["peer"]["times"] = round(figures["peer"]["seconds"] / figures["peer"]["hone_seconds"], 1)
        _say("peer", figures["peer"])
    return figures


def _say(name: str, figures: dict[str, Any]) -> None:
    print(f"{name:<10}" + "".join(f"{what} {value:,}   " for what, value in figures.items()), flush=True)


def _missed(figures: dict[str, Any]) -> list[str]:
    """What misses a goal, where it was measured at the size of the goal."""
    found = []
    if figures["rankings"] == GOAL_RANKINGS:
        for format in set(FORMATS) & set(figures):
            of_format = figures[format] | {"export seconds": figures[format]["seconds"]}
            found += [(format, name, of_format[name]) for name in ("export seconds", "growth_mb", "pages_p95_ms")]
    if figures["import"]["rows"] == GOAL_PROMPTS:
        found.append(("import", "import seconds", figures["import"]["seconds"]))
    return [f"missed: {what}, {name} {value} of {GOALS[name]}" for what, name, value in found if value > GOALS[name]]


@contextmanager
def _asking(browser: Browser) -> Iterator[Times]:
    """Meanwhile the manager asks for one page after the other."""
    times, stop = Times(), threading.Event()
    browser.times = times

    def ask() -> None:
        number = 0
        while not stop.wait(PAUSE):
            page = PAGES[number % len(PAGES)]
            if (reply := browser.get(page, "pages")).status not in (200, 302):
                raise SystemExit(f"{page} got the status {reply.status}: {reply.text[:500]}")
            number += 1

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def _of_pages(times: Times) -> dict[str, Any]:
    seconds = times.seconds["pages"]
    cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [0.0] * 19
    return {
        "pages": len(seconds),
        "pages_p50_ms": round(1000 * cuts[9], 1),
        "pages_p95_ms": round(1000 * cuts[18], 1),
    }


def write_prompts(path: Path, count: int) -> None:
    """Prompts in JSON lines that the project doesn't have."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"Write {number % 7 + 1} sentences about the number {number}. {SENTENCE * (number % 5)}"
            row = {"id": f"p{number}", "prompt": [{"role": "user", "content": text}], "lang": "en", "source": "bench"}
            file.write(json.dumps(row) + "\n")


def of_peer(address: str, token: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """How long a Label Studio takes for its export of these tasks to JSON, once they are there."""

    def ask(method: str, path: str, body: Any = None) -> bytes:
        request = urllib.request.Request(
            address.rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            found: bytes = reply.read()
        return found

    project = json.loads(ask("POST", "/api/projects", {"title": "export", "label_config": LABEL_CONFIG}))["id"]
    for start in range(0, len(tasks), PEER_BATCH):
        ask("POST", f"/api/projects/{project}/import", tasks[start : start + PEER_BATCH])
    for _warm_up in range(2):
        began = time.perf_counter()
        exported = json.loads(ask("GET", f"/api/projects/{project}/export?exportType=JSON"))
        seconds = time.perf_counter() - began
    if len(exported) != len(tasks):
        raise SystemExit(f"The peer exported {len(exported)} of {len(tasks)} tasks.")
    return {"rows": len(exported), "seconds": round(seconds, 2), "rows_per_s": round(len(exported) / seconds)}


def _asked(command: list[str], environment: dict[str, str]) -> Any:
    """The JSON that this module prints as a command of its own: settings are read once in a process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.data_files", *command],
        cwd=service.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().split("\n")[-1])


# ---- in a process of its own -------------------------------------------------------------------------------------


def fill(rankings: int) -> None:
    """A project with so many complete comparisons, each with one judgment."""
    from django.core.management import call_command

    from annotate.models import Membership, Project, Rubric, User
    from benchmarks.labeling_queue import add_comparisons

    call_command("prepare", verbosity=0)
    project = Project.objects.create(slug=PROJECT, name="Bench", responses_per_task=4, overlap=1)
    Rubric.objects.create(project=project, version=1)
    manager = User.objects.create(username="manager")
    Membership.objects.create(user=manager, project=project, role=Membership.Role.MANAGER)
    User.objects.bulk_create(User(username=f"labeler{number:02}") for number in range(LABELERS))
    add_comparisons(project, rankings, lambda task, place: f"Egg {task}, {place}. {SENTENCE * (3 + 2 * place)}")
    add_judgments(project)
    _forget_statistics()


def _forget_statistics() -> None:
    """No installation on SQLite has any: it reads every task of a finished project where they say that states vary not
    at all, in place of the index of open ones."""
    from django.db import connection

    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_stat1")


def add_judgments(project: Any) -> None:
    """A judgment of each comparison, as a labeler's submission makes one."""
    from django.db.models import Min

    from annotate.models import Assignment, Judgment, JudgmentRevision, Rubric, Task, User
    from benchmarks import bulk_rows as rows

    rubric = Rubric.objects.get(project=project)
    first = User.objects.filter(username__startswith="labeler").aggregate(first=Min("pk"))["first"]
    last = {
        model: model._base_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
        for model in (
            Assignment,
            Judgment,
            JudgmentRevision,
        )
    }
    tasks = f"""(SELECT t.id AS task, {first} + t.id % {LABELERS} AS labeler, row_number() OVER (ORDER BY t.id) AS n,
        (SELECT MIN(r.response_id) FROM annotate_taskresponse r WHERE r.task_id = t.id) AS response
        FROM annotate_task t WHERE t.project_id = {project.pk}) AS tasks"""
    responses = [rows.text_of(f"response + {place}") for place in range(4)]
    # Two orders, one of them with a tie.
    strict = "'[[' || " + " || '],[' || ".join(responses[place] for place in (2, 0, 3, 1)) + " || ']]'"
    tied = (
        f"'[[' || {responses[1]} || ',' || {responses[0]} || '],[' || {responses[3]} || '],[' || {responses[2]} || ']]'"
    )
    ratings = (
        "'{' || "
        + " || ', ' || ".join(
            f"'\"' || {name} || '\": {{\"overall\": {place + 2}}}'" for place, name in enumerate(responses)
        )
        + " || '}'"
    )
    common = {"project_id": str(project.pk), "task_id": "task", "labeler_id": "labeler"}
    now = "'2026-01-02 03:04:05+00:00'" if rows.connection.vendor == "postgresql" else "'2026-01-02 03:04:05'"
    uuid = "gen_random_uuid()" if rows.connection.vendor == "postgresql" else "lower(hex(randomblob(16)))"
    with rows.writing([Assignment, Judgment, JudgmentRevision]):
        rows.insert(
            Assignment,
            tasks,
            id=f"n + {last[Assignment]}",
            state="'submitted'",
            lease_until=now,
            seed="task",
            presentation=rows.json_of(f"'[' || {' || chr44 || '.join(responses)} || ']'".replace("chr44", "','")),
            ended_at=now,
            **common,
        )
        rows.insert(
            Judgment,
            tasks,
            id=f"n + {last[Judgment]}",
            assignment_id=f"n + {last[Assignment]}",
            latest_id=f"n + {last[JudgmentRevision]}",
            **common,
        )
        rows.insert(
            JudgmentRevision,
            tasks,
            id=f"n + {last[JudgmentRevision]}",
            judgment_id=f"n + {last[Judgment]}",
            number="1",
            client_id=uuid,
            tiers=rows.json_of(f"CASE WHEN task % 4 = 0 THEN {tied} ELSE {strict} END"),
            ratings=rows.json_of(ratings),
            seconds="20 + task % 60",
            rubric_id=str(rubric.pk),
        )
        Task.objects.filter(project=project).update(state="complete", judgments_given=1, slots_free=0)


def _session() -> str:
    from django.test import Client

    from annotate.models import User

    client = Client()
    client.force_login(User.objects.get(username="manager"), backend="annotate.people.backends.PasswordBackend")
    return client.cookies["sessionid"].value


def export(format: str) -> dict[str, Any]:
    from annotate.data import snapshots
    from annotate.models import Project

    project = Project.objects.get(slug=PROJECT)
    with _memory() as memory:
        began = time.perf_counter()
        snapshot = snapshots.freeze(project=project, kind="rankings", format=format)
        seconds = time.perf_counter() - began
    size = sum(file["bytes"] for file in snapshot.files.values())
    for path in snapshots.folder_of(snapshot).iterdir():
        path.unlink()
    return _figures(snapshot.rows, seconds, memory) | {"file_mb": round(size / 1e6, 1)}


def some(count: int) -> dict[str, Any]:
    """Our export of so many rankings to Label Studio's JSON, and these tasks for the peer."""
    from annotate.data.pacing import no_garbage_collection
    from annotate.data.snapshot_rows import rows
    from annotate.data.snapshot_selection import selected
    from annotate.formats import EXPORTERS
    from annotate.models import Project, Snapshot

    snapshot = Snapshot(project=Project.objects.get(slug=PROJECT), kind="rankings")
    exporter = EXPORTERS["label_studio"]
    with tempfile.TemporaryDirectory(prefix="hone-data-") as folder:
        path = Path(folder) / "tasks.jsonl"
        for _warm_up in range(2):
            began, written = time.perf_counter(), 0
            judged = selected(snapshot)[0]
            with exporter.open(path, kind="rankings") as file, no_garbage_collection():  # as snapshots are written
                for _split, row in rows(snapshot, (judged.only(list(range(min(count, len(judged))))),)):
                    for exported in exporter.rows(row or {}, kind="rankings"):
                        file.write(exported)
                        written += 1
            seconds = time.perf_counter() - began
        tasks = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return {"hone_rows": written, "hone_seconds": round(seconds, 3), "tasks": [_for_peer(task) for task in tasks]}


def _for_peer(task: dict[str, Any]) -> dict[str, Any]:
    """A task in the peer's own way of a ranking, with its annotation."""
    shown = [{"id": item["id"], "title": item["title"], "body": item["body"]} for item in task["data"]["items"]]
    order = {"ranker": {"_": [item["id"] for item in shown]}}
    result = {"from_name": "ranking", "to_name": "responses", "type": "ranker", "value": order}
    data = {"prompt": task["data"]["prompt"][-1]["content"], "responses": shown}
    return {"data": data, "annotations": [{"result": [result]}]}


def bring_in(path: str) -> dict[str, Any]:
    from annotate.data.imports import import_file
    from annotate.models import Project

    project = Project.objects.get(slug=PROJECT)
    with _memory() as memory:
        began = time.perf_counter()
        report = import_file(project=project, path=path, by=None)
        seconds = time.perf_counter() - began
    return _figures(report.read, seconds, memory) | {"created": report.created.get("prompts", 0)}


@contextmanager
def _memory() -> Iterator[dict[str, float]]:
    """By how many MB the most that the process has held grows within."""
    found: dict[str, float] = {"began": time.process_time()}
    before = _held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    yield found
    found["growth_mb"] = round((_held("VmHWM") - before) / 1024, 1)


def _held(name: str) -> int:
    """KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith(name))
    return int(line.split()[1])


def _figures(rows: int, seconds: float, memory: dict[str, float]) -> dict[str, Any]:
    cpu = round(time.process_time() - memory.pop("began"), 2)
    return {"rows": rows, "seconds": round(seconds, 2), "cpu_s": cpu, "rows_per_s": round(rows / seconds), **memory}


if __name__ == "__main__":
    import django

    django.setup()
    what, argument = sys.argv[1], sys.argv[2]
    if what == "fill":
        fill(int(argument))
    found: Any = _session() if what in ("fill", "session") else None
    if what == "export":
        found = export(argument)
    elif what == "some":
        found = some(int(argument))
    elif what == "import":
        found = bring_in(argument)
    print(json.dumps(found))
