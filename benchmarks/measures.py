"""What measures of quality cost at size: `python -m benchmarks measures --judgments N`.

A project of N judgments, three a task, by 50 labelers over 250 days, ten use cases and two languages is written by SQL,
on SQLite or PostgreSQL (`--database`). Then everything is computed from scratch, the judgments of the last days are
written as if they had just come and folded, and pages are opened. Meanwhile another connection asks for the database's
write lock every few milliseconds. The last line is one JSON object:

recompute_s, recompute_judgments_per_s, fold_judgments_per_s, longest_wait_ms (for the write lock), page_ms (the whole
period), page_28_days_ms, overview_ms, hours_csv_ms
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import service
from tests.databases.postgresql import PostgresServer, find_program

K, EACH, LABELERS, DAYS = 4, 3, 50, 250
NEW_SHARE = 50
"""One in so many tasks is judged after the rest was computed."""
OPENED = 9
ORDERS = ((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3), (1, 0, 2, 3), (0, 2, 1, 3), (3, 2, 1, 0))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks measures", description=__doc__)
    parser.add_argument("--judgments", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        own = {"DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": folder, "HONE_LOG_LEVEL": "WARNING"}
        database = None
        if chosen.database == "postgresql":
            if find_program("initdb") is None:
                parser.error("PostgreSQL is not installed")
            database = PostgresServer.start(Path(folder) / "postgresql")
            own["DATABASE_URL"] = database.url
        try:
            command = [sys.executable, "-m", "benchmarks.measures", "measure", str(chosen.judgments)]
            return subprocess.run(command, cwd=service.ROOT, env={**os.environ, **own}).returncode
        finally:
            if database is not None:
                database.stop()


# ---- in a process of its own, since settings are read once in a process ---------------------------------------------


def _measure(judgments: int) -> dict[str, float]:
    from django.core.management import call_command

    from annotate.models import Project, User
    from annotate.quality import measures

    call_command("prepare", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", responses_per_task=K, overlap=EACH)
    people = [User.objects.create(username=f"bench{number}") for number in range(LABELERS)]
    manager = User.objects.create(username="manager")
    project.memberships.create(user=manager, role="manager")
    tasks = judgments // EACH
    new = max(1, tasks // NEW_SHARE)
    fill = _Fill(project.pk, people[0].pk)
    start = time.perf_counter()
    for first, count, at in _days(tasks - new):
        fill.add(first, count, at)
    _analyse()
    _say("filled", time.perf_counter() - start, "s")
    figures: dict[str, float] = {}
    with _waits() as waits:
        seconds = _timed(lambda: measures.fold_due(seconds=1e9))
        figures["recompute_s"] = seconds
        figures["recompute_judgments_per_s"] = (tasks - new) * EACH / seconds
        fill.add(tasks - new, new, datetime.now(UTC), stale=True)
        waits.clear()
        figures["fold_judgments_per_s"] = new * EACH / _timed(lambda: measures.fold_due(seconds=1e9))
    figures["longest_wait_ms"] = 1000 * max(waits)
    _analyse()
    for name, address in {
        "page_ms": "/p/bench/quality/?days=all",
        "page_28_days_ms": "/p/bench/quality/",
        "overview_ms": "/p/bench/",
        "hours_csv_ms": "/p/bench/quality/hours.csv?days=all",
    }.items():
        figures[name] = 1000 * _opened(manager, address)
    return {name: round(value, 1) for name, value in figures.items()}


def _opened(manager: Any, address: str) -> float:
    from django.test import Client

    client = Client()
    client.force_login(manager)
    times = []
    for _ in range(OPENED):
        start = time.perf_counter()
        reply = client.get(address, HTTP_HOST="127.0.0.1")
        body = reply.getvalue()
        times.append(time.perf_counter() - start)
        if reply.status_code != 200 or len(body) < 1_000:
            raise SystemExit(f"{address} got the status {reply.status_code}")
    return median(times)


@contextmanager
def _waits() -> Iterator[list[float]]:
    """How long another writer waits for the database, in seconds, again and again."""
    from django.db import connection, transaction

    from annotate.models import Project

    waits, over = [0.0], threading.Event()

    def write() -> None:
        while not over.wait(0.005):
            start = time.perf_counter()
            with transaction.atomic():
                Project.objects.filter(slug="bench").update(description="A labeler's submit.")
            waits.append(time.perf_counter() - start)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


def _days(tasks: int) -> Iterator[tuple[int, int, datetime]]:
    """(first task, how many, when) of each day."""
    each = -(-tasks // DAYS)
    for number in range(DAYS):
        first = number * each
        if first < tasks:
            yield first, min(each, tasks - first), datetime.now(UTC) - timedelta(days=DAYS - number)


class _Fill:
    """Writes judged tasks by SQL; a task's number decides all about it."""

    def __init__(self, project: int, labeler: int) -> None:
        from django.db import connection

        self.connection, self.project, self.labeler = connection, project, labeler
        self.json = "CAST({} AS jsonb)" if connection.vendor == "postgresql" else "{}"
        from annotate.models import Author

        self.author = Author.objects.create(kind=Author.Kind.MODEL, name="bench").pk

    def add(self, first: int, count: int, at: datetime, *, stale: bool = False) -> None:
        from django.db import transaction

        values: dict[str, Any] = {
            "project": self.project,
            "first": first,
            "last": first + count - 1,
            "at": at,
            "author": self.author,
        }
        values |= {"stale": at if stale else None, "labeler": self.labeler}
        with transaction.atomic(), self.connection.cursor() as cursor:
            for model, columns, beside in self._rows():
                cursor.execute(*self._insert(model, columns, beside, values))
            cursor.execute(
                "UPDATE annotate_judgment SET latest_id = id WHERE id BETWEEN %s AND %s",
                [first * EACH + 1, (first + count) * EACH],
            )

    def _insert(self, model: Any, columns: dict[str, str], beside: str, values: dict[str, Any]) -> tuple[str, Any]:
        """The statement with its values; what `columns` leave out of a row has its default."""
        values = dict(values)
        for field in model._meta.concrete_fields:
            if field.column in columns or field.null or field.primary_key or field.generated:
                continue
            columns[field.column] = f"%({field.column})s"
            values[field.column] = field.get_db_prep_save(field.get_default(), self.connection)
        numbers = "WITH RECURSIVE n(i) AS (SELECT CAST(%(first)s AS bigint) UNION ALL "
        numbers += "SELECT i + 1 FROM n WHERE i < %(last)s) "
        names, chosen = ", ".join(columns), ", ".join(columns.values())
        return f"{numbers} INSERT INTO {model._meta.db_table} ({names}) SELECT {chosen} FROM n{beside}", values

    def _rows(self) -> list[tuple[Any, dict[str, str], str]]:
        """(model, {column: SQL}, what each number is joined with) of every table."""
        from annotate.models import Assignment, Judgment, JudgmentRevision, Prompt, Response, Task, TaskResponse

        responses = f", (SELECT 0 AS r{''.join(f' UNION ALL SELECT {r}' for r in range(1, K))}) AS k"
        judges = f", (SELECT 0 AS j{''.join(f' UNION ALL SELECT {j}' for j in range(1, EACH))}) AS l"
        cases = ["generation", "open_qa", "closed_qa", "brainstorming", "chat", "rewriting", "summarisation"]
        cases += ["classification", "extraction", "other"]
        use_case = "CASE i %% 10 " + " ".join(f"WHEN {at} THEN '{name}'" for at, name in enumerate(cases)) + " END"
        task, response, judgment = "i + 1", f"i * {K} + r + 1", f"i * {EACH} + j + 1"
        digest = "substr('0000000000000000000000000000000000000000000000000000000000000000' || i, -64)"
        if self.connection.vendor == "postgresql":
            digest = "lpad(CAST(i AS text), 64, '0')"
        rating = """'"' || (i * {k} + {r} + 1) || '": {{"overall": ' || (1 + (i + {r} + j * (i %% 3)) %% 7) || '}}'"""
        ratings = " || ',' || ".join(rating.format(k=K, r=r) for r in range(K))
        now, project = {"created_at": "%(at)s"}, {"project_id": "%(project)s"}
        given = {"task_id": task, "labeler_id": f"%(labeler)s + (i * 7 + j * 13 + i / 11) %% {LABELERS}"}
        messages = self.json.format("""'[{"role": "user", "content": "Question ' || i || '?"}]'""")
        text = f"substr('{'Boil them slowly. ' * 30}', 1, CAST(80 + (i * (r + 3)) %% 400 AS int))"
        prompt = {"id": task, "messages": messages, "use_case": use_case, "content_hash": digest, "split": "'train'"}
        done = {"id": task, "kind": "'compare'", "prompt_id": task, "state": "'complete'", "slots_free": "0"}
        done |= dict.fromkeys(["judgments_wanted", "judgments_given"], str(EACH))
        done |= {"consensus_stale_at": f"CAST(%(stale)s AS {self._time})", "random_key": "i * 1009"}
        assigned = {"id": judgment, "state": "'submitted'", "seed": "0"}
        assigned |= dict.fromkeys(["lease_until", "opened_at", "ended_at"], "%(at)s")
        assigned["presentation"] = self.json.format(self._order("[{},{},{},{}]", 104729))
        revision = {"id": judgment, "judgment_id": judgment, "number": "1", "client_id": self._uuid(judgment)}
        revision["tiers"] = self.json.format(self._order("[[{}],[{}],[{}],[{}]]", 7919))
        revision |= {
            "ratings": self.json.format(f"'{{' || {ratings} || '}}'"),
            "seconds": "5 + (i * 37 + j * 11) %% 170",
        }
        author = {"prompt_id": task, "author_id": "%(author)s"}
        return [
            (Prompt, {**now, **project, **prompt, "language": "CASE WHEN i %% 5 = 0 THEN 'zh' ELSE 'en' END"}, ""),
            (Response, {**now, **author, "id": response, "text": text}, responses),
            (Task, {**now, **project, **done}, ""),
            (TaskResponse, {"task_id": task, "response_id": response, "number": "r"}, responses),
            (Assignment, {**now, **project, **given, **assigned}, judges),
            (Judgment, {**now, **project, **given, "id": judgment, "assignment_id": judgment}, judges),
            (JudgmentRevision, {**now, **revision}, judges),
        ]

    def _order(self, form: str, factor: int) -> str:
        """SQL for a JSON text of the task's responses in an order that the judgment's number chooses."""
        cases = []
        for at, order in enumerate(ORDERS):
            before, *parts = form.split("{}")
            text = f"'{before}'" + "".join(
                f" || (i * {K} + {place + 1}) || '{after}'" for place, after in zip(order, parts, strict=True)
            )
            cases.append(f"WHEN {at} THEN {text}")
        return f"CASE ((i + 1) * {factor} / 13 + j * 5 + (i %% 7) * j) %% {len(ORDERS)} {' '.join(cases)} END"

    @property
    def _time(self) -> str:
        return "timestamptz" if self.connection.vendor == "postgresql" else "text"

    def _uuid(self, number: str) -> str:
        if self.connection.vendor == "postgresql":
            return f"CAST(lpad(to_hex({number}), 32, '0') AS uuid)"
        return f"printf('%%032x', {number})"


def _analyse() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _say(name: str, value: float, unit: str) -> None:
    print(f"{name:<32}{value:>12.1f} {unit}", flush=True)


if __name__ == "__main__":
    import django

    django.setup()
    found = _measure(int(sys.argv[2]))
    for name, value in found.items():
        _say(name, value, "")
    print(json.dumps(found))
