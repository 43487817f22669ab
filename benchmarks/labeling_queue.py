"""What a submit with the next task in its reply costs, over HTTP: `python -m benchmarks queue --tasks N --labelers M`.

On SQLite and on PostgreSQL (where it is installed) gunicorn serves a project of N comparisons of four responses with a
rubric, and M labelers submit one task after the other without a pause, each at an address of their own. Every reply
brings the whole next task, whose texts nobody has rendered before. Server and labelers share this machine, so the times
depend on what else it does; `cpu_ms` is the processor time of the web processes for one submit, all that they did
meanwhile included, and on PostgreSQL `database_cpu_ms` that of its processes. The last line is one JSON object:

{"sqlite": {"submit_next_p50_ms", "submit_next_p95_ms", "cpu_ms", "over_assigned", "lost", "submits"}, "postgresql": {}}

over_assigned: tasks given to more labelers than they want. lost: acknowledged judgments that have no row.
"""

import argparse
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.load import service
from benchmarks.load.browser import Browser, Times
from tests.postgresql import PostgresServer, find_program

K, BATCH = 4, 5_000
WARM_UP = 10
"""Submits of each labeler before anything is counted: they load templates and open connections."""
UP_SECONDS = 60.0
PROJECT, KIND = "bench", "submit with next"
TASK = re.compile(rf'action="/p/{PROJECT}/work/(\d+)/submit"')
RANKS = re.compile(r'name="rank-(\w+)"')
TEXT = """Put the eggs in **cold water**, bring it to the boil, then:

1. take the pot off the heat
2. wait ten minutes, or {number} for a very hard yolk
3. cool them in ice water

```python
def boil(eggs):
    return [egg for egg in eggs if egg.is_fresh]
```

The time doubles with `size`; see response {number} of {task}. {more}
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks queue", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--labelers", type=int, default=8)
    parser.add_argument("--submits", type=int, default=100, help="of each labeler, besides the first few")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="one of them alone")
    chosen = parser.parse_args(arguments)
    if chosen.tasks < (chosen.submits + WARM_UP + 1) * chosen.labelers:
        parser.error("there are too few tasks for so many submits")
    figures = {}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        if chosen.database != "postgresql":
            figures["sqlite"] = _measured("sqlite", Path(folder) / "sqlite", {}, chosen, lambda: 0.0)
        if chosen.database != "sqlite" and find_program("initdb") is not None:
            database = PostgresServer.start(Path(folder) / "postgresql")
            try:
                figures["postgresql"] = _measured(
                    "postgresql",
                    Path(folder) / "data",
                    {"DATABASE_URL": database.url},
                    chosen,
                    lambda: service.processor_seconds(service.children(database.process_id)),
                )
            finally:
                database.stop()
    print(json.dumps(figures))
    return 1 if any(found["over_assigned"] or found["lost"] for found in figures.values()) else 0


def _measured(
    name: str, data: Path, environment: dict[str, str], chosen: argparse.Namespace, of_database: Callable[[], float]
) -> dict[str, float]:
    """A database's figures. What asks the database has a process of its own: settings are read once in a process."""
    data.mkdir()
    port = _free_port()
    own = {"HONE_DATA": str(data), "HONE_PORT": str(port), "HONE_LOG_LEVEL": "WARNING"}
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **own, **environment}
    sessions = _asked(["fill", str(chosen.tasks), str(chosen.labelers)], environment)
    times, start, counted = Times(), threading.Barrier(chosen.labelers + 1), threading.Event()
    with _web(port, data, environment) as web:
        labelers = [
            _Labeler(Browser(port, Times(), number=number + 1), session) for number, session in enumerate(sessions)
        ]
        threads = [
            threading.Thread(target=labeler.work, args=(chosen.submits, times, start, counted), daemon=True)
            for labeler in labelers
        ]
        for thread in threads:
            thread.start()
        start.wait()
        before, before_database = service.processor_seconds(service.children(web)), of_database()
        counted.set()
        for thread in threads:
            thread.join()
        used = service.processor_seconds(service.children(web)) - before
        used_by_database = of_database() - before_database
    acknowledged = [client_id for labeler in labelers for client_id in labeler.acknowledged]
    wrong = _asked(["check"], environment, json.dumps(acknowledged))
    cuts = quantiles(times.seconds[KIND], n=20, method="inclusive")
    submits = chosen.submits * chosen.labelers
    figures = {
        "submit_next_p50_ms": round(1000 * cuts[9], 1),
        "submit_next_p95_ms": round(1000 * cuts[18], 1),
        "cpu_ms": round(1000 * used / submits, 2),
        "over_assigned": wrong["tasks given to more labelers than they want"],
        "lost": wrong["acknowledged judgments without a row"],
        "submits": submits,
    }
    if name == "postgresql":
        figures["database_cpu_ms"] = round(1000 * used_by_database / submits, 2)
    for what, value in figures.items():
        print(f"{name}: {what:<24}{value:>10}", flush=True)
    return figures


class _Labeler:
    """One who ranks what comes; `acknowledged` has the browser's ids of what got a receipt."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.browser.cookies["sessionid"] = session
        self.acknowledged: list[str] = []

    def work(self, submits: int, times: Times, start: threading.Barrier, counted: threading.Event) -> None:
        page = self.browser.get(f"/p/{PROJECT}/work/", "work page").text
        for _number in range(WARM_UP):
            page = self._submit(page)
        self.browser.times = times
        start.wait()
        counted.wait()
        for _number in range(submits):
            page = self._submit(page)

    def _submit(self, page: str) -> str:
        """Submit the task on the page; the next page."""
        task = TASK.search(page)
        if task is None:
            raise SystemExit(f"There is no task on the page: {page[:500]}")
        keys = list(dict.fromkeys(RANKS.findall(page)))
        fields = {f"rank-{key}": str(rank) for rank, key in enumerate(random.sample(keys, len(keys)), start=1)}
        fields |= {f"rating-{key}-overall": "5" for key in keys}
        fields |= {"client_id": str(uuid.uuid4()), "seconds": "41.5", "comment": ""}
        reply = self.browser.post(f"/p/{PROJECT}/work/{task[1]}/submit", fields, KIND, script=True)
        if reply.status != 200:
            raise SystemExit(f"A submit got the status {reply.status}: {reply.text[:500]}")
        self.acknowledged.append(fields["client_id"])
        return reply.text


@contextmanager
def _web(port: int, data: Path, environment: dict[str, str]) -> Iterator[int]:
    """gunicorn as `manage.py serve` starts it; its process id."""
    with (data / "web.log").open("wb") as log:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:config.web.gunicorn", "config.wsgi"]
        process = subprocess.Popen(command, cwd=service.ROOT, env=environment, stdout=log, stderr=log)
    try:
        probe, until = Browser(port, Times()), time.monotonic() + UP_SECONDS
        while probe.get("/healthz", "GET /healthz").status != 200:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"The web process didn't come up: {(data / 'web.log').read_text()[-2000:]}")
            time.sleep(0.1)
        probe.close()
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _asked(command: list[str], environment: dict[str, str], given: str = "") -> Any:
    """The JSON that this module prints as a command of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.labeling_queue", *command],
        cwd=service.ROOT,
        env=environment,
        input=given,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().split("\n")[-1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---- in a process of its own -------------------------------------------------------------------------------------


def _fill(tasks: int, labelers: int) -> list[str]:
    """A project with its queue full, and labelers who are signed in; the keys of their sessions."""
    from django.core.management import call_command
    from django.test import Client

    call_command("prepare", verbosity=0)
    sessions = []
    for labeler in _make_project(tasks, labelers):
        client = Client()
        client.force_login(labeler)
        sessions.append(client.cookies["sessionid"].value)
    return sessions


def _make_project(tasks: int, labelers: int) -> list[Any]:
    """The labelers of a new project with so many comparisons."""
    from annotate.forms.rubric import PRESETS, CriteriaField, FlagsField
    from annotate.models import Author, Guidelines, Membership, Project, Rubric, User

    project = Project.objects.create(slug=PROJECT, name="Bench", responses_per_task=K)
    _label, criteria, flags = PRESETS["instructgpt"]
    Rubric.objects.create(
        project=project, version=1, criteria=CriteriaField().clean(criteria), flags=FlagsField().clean(flags)
    )
    Guidelines.objects.create(project=project, version=1, text="Be kind. " * 200)
    people = [User.objects.create(username=f"bench{number}") for number in range(labelers)]
    Membership.objects.bulk_create(
        Membership(user=person, project=project, role=Membership.Role.LABELER) for person in people
    )
    author = Author.objects.create(kind=Author.Kind.MODEL, name="bench")
    for start in range(0, tasks, BATCH):
        _add_comparisons(project, author, range(start, min(start + BATCH, tasks)))
    return people


def _add_comparisons(project: Any, author: Any, numbers: range) -> None:
    from annotate.models import Prompt, Response, Task, TaskResponse

    prompts = [
        Prompt(project=project, messages=[{"role": "user", "content": f"How do I boil egg number {number}?"}])
        for number in numbers
    ]
    for prompt in prompts:
        prompt.set_content_fields()
    Prompt.objects.bulk_create(prompts, batch_size=1_000)
    responses = Response.objects.bulk_create(
        [
            Response(prompt=prompt, author=author, text=_text(task, number))
            for task, prompt in zip(numbers, prompts, strict=True)
            for number in range(K)
        ],
        batch_size=1_000,
    )
    tasks = Task.objects.bulk_create([Task(project=project, prompt=prompt) for prompt in prompts], batch_size=1_000)
    TaskResponse.objects.bulk_create(
        [
            TaskResponse(task=tasks[number // K], response=response, number=number % K)
            for number, response in enumerate(responses)
        ],
        batch_size=1_000,
    )


def _text(task: int, number: int) -> str:
    return TEXT.format(number=number, task=task, more="And so on, at some length. " * number * 3)


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "fill":
        print(json.dumps(_fill(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        print(json.dumps(service.differences(json.loads(sys.stdin.read()))))
