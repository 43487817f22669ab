"""What a task and a judgment cost PostgreSQL: bytes, WAL, statements, commits, and the requests besides the submit.

A server is started with the defaults of PostgreSQL (fsync, full_page_writes, autovacuum), filled with comparisons of
four responses as `python -m benchmarks queue` makes them, and one labeler judges `submits` of them through all of the
middleware by the test client, in a process of its own.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tests.databases.postgresql import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
AFTER_CHECKPOINT = 20
"""Submits that each follow a checkpoint: the first change of a page after one writes the whole page to the WAL."""
TABLES = {
    "task": ("prompt", "response", "task", "taskresponse", "promptwords", "prompttoindex"),
    "judgment": ("assignment", "judgment", "judgmentrevision", "queuecursor"),
}
Figures = dict[str, float]


def measure(tasks: int, submits: int) -> Figures:
    """Bytes of a task and of a judgment, and the means of a submit with the next task."""
    with tempfile.TemporaryDirectory(prefix="hone-scale-") as folder, ExitStack() as stack:
        database = PostgresServer.start(Path(folder) / "postgresql")
        stack.callback(database.stop)
        options = f"-c listen_addresses='' -c unix_socket_directories='{database.folder}'"
        database._run(database.folder, "pg_ctl", "restart", "--pgdata", "data", "--wait", "--options", options)
        data = Path(folder) / "data"
        data.mkdir()
        own = {"DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": str(data), "DATABASE_URL": database.url}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale.storage", str(tasks), str(submits)],
            cwd=ROOT,
            env={**os.environ, **own, "HONE_LOG_LEVEL": "WARNING"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        figures: Figures = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
        return figures


# ---- in a process of its own -------------------------------------------------------------------------------------


def _measured(tasks: int, submits: int) -> Figures:
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from benchmarks.labeling_queue import PROJECT, _make_project

    call_command("prepare", verbosity=0)
    empty = _sizes("task")
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(_make_project(tasks, 1)[0])
    _one("VACUUM ANALYZE")
    figures: Figures = {"bytes_per_task": round((_sizes("task") - empty) / tasks, 1)}
    labeler = _Labeler(client, client.get(f"/p/{PROJECT}/work/").content.decode())
    for _warm_up in range(20):
        labeler.submit()
    before = _sizes("judgment")
    commits, began = _commits(), time.process_time()
    wal = _wal()
    statements = 0

    def counted(execute: Any, *arguments: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*arguments)

    with connection.execute_wrapper(counted):
        for _number in range(submits):
            labeler.submit()
    figures |= {
        "submit_cpu_ms": round(1000 * (time.process_time() - began) / submits, 2),
        "submit_statements": round(statements / submits, 2),
        "submit_wal_bytes": round((_wal() - wal) / submits, 1),
        "submit_commits": round((_commits() - commits) / submits, 2),
        "bytes_per_judgment": round((_sizes("judgment") - before) / submits, 1),
    }
    for name, ask in (("ahead", labeler.ahead), ("draft", labeler.draft)):
        began = time.process_time()
        for _number in range(100):
            ask()
            if name == "ahead":
                labeler.submit(is_timed=False)
        figures[f"{name}_cpu_ms"] = round(1000 * (time.process_time() - began - labeler.apart) / 100, 2)
        labeler.apart = 0.0
    after_checkpoint = []
    for _number in range(AFTER_CHECKPOINT):
        _one("CHECKPOINT")
        wal = _wal()
        labeler.submit()
        after_checkpoint.append(_wal() - wal)
    figures["submit_wal_bytes_after_checkpoint"] = median(after_checkpoint)
    return figures


class _Labeler:
    """apart: processor seconds of submits that are no part of what is timed."""

    def __init__(self, client: Any, page: str) -> None:
        self.client, self.page, self.apart, self.version = client, page, 0.0, 0

    def submit(self, is_timed: bool = True) -> None:
        from benchmarks.labeling_queue import PROJECT, TASK

        began = time.process_time()
        task = TASK.search(self.page)
        assert task is not None, self.page[:500]
        reply = self.client.post(f"/p/{PROJECT}/work/{task[1]}/submit", self._fields(), HTTP_HX_REQUEST="true")
        assert reply.status_code == 200, reply.content[:500]
        self.page = reply.content.decode()
        if not is_timed:
            self.apart += time.process_time() - began

    def ahead(self) -> None:
        from benchmarks.labeling_queue import PROJECT

        reply = self.client.get(f"/p/{PROJECT}/work/ahead", HTTP_HX_REQUEST="true")
        assert reply.status_code == 200, reply.content[:500]

    def draft(self) -> None:
        from benchmarks.labeling_queue import PROJECT, TASK

        task = TASK.search(self.page)
        assert task is not None
        numbers = {"draft_version": self.version + 1, "draft_base": self.version, "draft_page": "scale"}
        path = f"/p/{PROJECT}/work/{task[1]}/draft"
        reply = self.client.post(path, {**self._fields(), **numbers}, HTTP_HX_REQUEST="true")
        assert reply.status_code == 200, reply.content[:500]
        self.version += 1

    def _fields(self) -> dict[str, str]:
        from benchmarks.labeling_queue import RANKS

        keys = list(dict.fromkeys(RANKS.findall(self.page)))
        fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys, start=1)}
        fields |= {f"rating-{key}-overall": "5" for key in keys}
        return {**fields, "client_id": str(uuid.uuid4()), "seconds": "41.5", "comment": ""}


def _one(statement: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def _sizes(kind: str) -> int:
    """Bytes of the tables that grow with tasks, or with judgments, their indexes and TOAST included."""
    names = ", ".join(f"'annotate_{name}'" for name in TABLES[kind])
    return int(_one(f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({names})"))


def _wal() -> int:
    return int(_one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def _commits() -> int:
    """Transactions that wrote something: only these take a number and wait for the WAL."""
    return int(re.sub(r"\D", "", str(_one("SELECT pg_snapshot_xmax(pg_current_snapshot())"))))


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(_measured(int(sys.argv[1]), int(sys.argv[2]))))
