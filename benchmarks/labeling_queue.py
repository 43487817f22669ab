"""What a submit with the next task in its reply costs, over HTTP: `python -m benchmarks queue --tasks N --labelers M`.

On SQLite and on PostgreSQL (where it is installed) gunicorn serves a project of N comparisons of four responses with a
rubric, and M labelers submit one task after the other, each at an address of their own, with a pause of `--pause`
seconds (more or less by half) between getting a task and submitting it; of several pauses the figures of the first are
under the database's name. Without one (the default) M labelers keep the processor busy all the time, and the times tell
how long their requests wait for it. Every reply brings the whole next
task, whose texts nobody has rendered before. Server and labelers share this machine, so the times depend on what else
it does; `cpu_ms` is the processor time of the web processes for one submit, all that they did meanwhile included,
`labelers_cpu_ms` that of the labelers, and on PostgreSQL `database_cpu_ms` that of its processes. The last line is one
JSON object:

{"sqlite": {"submit_next_p50_ms", "submit_next_p95_ms", "cpu_ms", "over_assigned", "lost", "submits", "labelers_cpu_ms",
 "pause_s"}, "postgresql": {}}

over_assigned: tasks given to more labelers than they want. lost: acknowledged judgments that have no row.
`--growth` asks the same of 10,000, 100,000 and 1,000,000 tasks with one labeler, or of the sizes that it names, and
prints how many times longer the median of the largest is than that of the smallest; the JSON has an object for each
size and the `growth`: {"sqlite": {"10000": {}, "100000": {}, "1000000": {}, "growth": 1.1, "cpu_growth": 1.0}}.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.load import service
from benchmarks.load.browser import Browser, Times
from tests.databases.postgresql import PostgresServer, find_program
from tests.harness.ports import free_port

K = 4
GROWTH = [10_000, 100_000, 1_000_000]
WARM_UP = 10
"""Submits of each labeler before anything is counted: they load templates and open connections."""
UP_SECONDS = 60.0
PROJECT, KIND = "bench", "submit with next"
TASK = re.compile(rf'action="/p/{PROJECT}/work/(\d+)/submit"')
RUBRIC = re.compile(r'name="rubric" value="(\d+)"')
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
    parser.add_argument(
        "--pause",
        nargs="+",
        type=float,
        default=[0.0],
        metavar="SECONDS",
        help="between getting a task and submitting it; several are measured one after the other",
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="one of them alone")
    parser.add_argument(
        "--growth",
        nargs="?",
        const=GROWTH,
        type=_sizes,
        metavar="N,N,...",
        help="one labeler on projects of these sizes",
    )
    chosen = parser.parse_args(arguments)
    if min(chosen.pause) < 0:
        parser.error("a pause is no shorter than 0 seconds")
    if chosen.growth:
        chosen.labelers = 1
    submits = chosen.submits * len(chosen.pause) + WARM_UP + 1
    if min(chosen.growth or [chosen.tasks]) < submits * chosen.labelers:
        parser.error("there are too few tasks for so many submits")
    if not chosen.growth:
        figures = _of_databases(chosen)
        print(json.dumps(figures))
        return _status(figures.values())
    grown: dict[str, dict[str, Any]] = {}
    for size in chosen.growth:
        chosen.tasks = size
        for database, found in _of_databases(chosen).items():
            grown.setdefault(database, {})[str(size)] = found
    status = _status(found for of_sizes in grown.values() for found in of_sizes.values())
    for database, of_sizes in grown.items():
        small, large = of_sizes[str(chosen.growth[0])], of_sizes[str(chosen.growth[-1])]
        for name, figure in (("growth", "submit_next_p50_ms"), ("cpu_growth", "cpu_ms")):
            of_sizes[name] = round(large[figure] / small[figure], 2)
            print(f"{database}: {name:<24}{of_sizes[name]:>10}", flush=True)
    print(json.dumps(grown))
    return status


def _sizes(text: str) -> list[int]:
    return sorted(int(size) for size in text.split(","))


def _status(figures: Iterable[dict[str, float]]) -> int:
    return 1 if any(found["over_assigned"] or found["lost"] for found in figures) else 0


def _of_databases(chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    print(f"{chosen.tasks} tasks, {chosen.labelers} labelers", flush=True)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        if chosen.database != "postgresql":
            figures |= _measured("sqlite", Path(folder) / "sqlite", {}, chosen, lambda: 0.0)
        if chosen.database != "sqlite" and find_program("initdb") is not None:
            database = PostgresServer.start(Path(folder) / "postgresql")
            try:
                figures |= _measured(
                    "postgresql",
                    Path(folder) / "data",
                    {"DATABASE_URL": database.url},
                    chosen,
                    lambda: service.family_seconds(database.process_id),
                )
            finally:
                database.stop()
    return figures


def _measured(
    name: str, data: Path, environment: dict[str, str], chosen: argparse.Namespace, of_database: Callable[[], float]
) -> dict[str, dict[str, float]]:
    """A database's figures for each pause. What asks the database has a process of its own: settings are read once in
    a process."""
    data.mkdir()
    port = free_port()
    own = {"HONE_DATA": str(data), "HONE_PORT": str(port), "HONE_LOG_LEVEL": "WARNING"}
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **own, **environment}
    sessions = _asked(["fill", str(chosen.tasks), str(chosen.labelers)], environment)
    found = {}
    with web_process(port, data, environment) as web:
        labelers = [
            Labeler(Browser(port, Times(), number=number + 1), session) for number, session in enumerate(sessions)
        ]
        _at_once(labelers, lambda labeler: labeler.begin())
        for pause in chosen.pause:
            found[pause] = _of_phase(labelers, web, chosen.submits, pause, of_database)
    acknowledged = [client_id for labeler in labelers for client_id in labeler.acknowledged]
    wrong = _asked(["check"], environment, json.dumps(acknowledged))
    figures = {}
    for pause, of_phase in found.items():
        of_phase["over_assigned"] = wrong["tasks given to more labelers than they want"]
        of_phase["lost"] = wrong["acknowledged judgments without a row"]
        if name != "postgresql":
            del of_phase["database_cpu_ms"]
        key = name if pause == chosen.pause[0] else f"{name}, pause {pause} s"
        figures[key] = of_phase
        for what, value in of_phase.items():
            print(f"{key}: {what:<24}{value:>10}", flush=True)
    return figures


def _of_phase(
    labelers: "list[Labeler]", web: int, submits: int, pause: float, of_database: Callable[[], float]
) -> dict[str, float]:
    """The figures of so many submits of each labeler."""
    times = Times()
    for labeler in labelers:
        labeler.browser.times = times
    before, before_database = service.processor_seconds(service.children(web)), of_database()
    before_labelers = time.process_time()
    _at_once(labelers, lambda labeler: labeler.work(submits, pause))
    used_by_labelers = time.process_time() - before_labelers
    used = service.processor_seconds(service.children(web)) - before
    used_by_database = of_database() - before_database
    cuts = quantiles(times.seconds[KIND], n=20, method="inclusive")
    count = submits * len(labelers)
    return {
        "submit_next_p50_ms": round(1000 * cuts[9], 1),
        "submit_next_p95_ms": round(1000 * cuts[18], 1),
        "cpu_ms": round(1000 * used / count, 2),
        "database_cpu_ms": round(1000 * used_by_database / count, 2),
        "labelers_cpu_ms": round(1000 * used_by_labelers / count, 2),
        "pause_s": pause,
        "submits": count,
    }


def _at_once(labelers: "list[Labeler]", do: "Callable[[Labeler], None]") -> None:
    """Raises what the first of them raised."""
    with ThreadPoolExecutor(len(labelers)) as threads:
        for done in [threads.submit(do, labeler) for labeler in labelers]:
            done.result()


class Labeler:
    """One who ranks what comes; `acknowledged` has the browser's ids of what got a receipt."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.browser.cookies["sessionid"] = session
        self.acknowledged: list[str] = []
        self.page = ""

    def begin(self) -> None:
        self.page = self.browser.get(f"/p/{PROJECT}/work/", "work page").text
        self.work(WARM_UP, 0.0)

    def work(self, submits: int, pause: float) -> None:
        for _number in range(submits):
            if pause:
                time.sleep(pause * random.uniform(0.5, 1.5))
            self.page = self._submit(self.page)

    def _submit(self, page: str) -> str:
        """Submit the task on the page; the next page."""
        task = TASK.search(page)
        if task is None:
            raise SystemExit(f"There is no task on the page: {page[:500]}")
        keys = list(dict.fromkeys(RANKS.findall(page)))
        fields = {f"rank-{key}": str(rank) for rank, key in enumerate(random.sample(keys, len(keys)), start=1)}
        fields |= {f"rating-{key}-overall": "5" for key in keys}
        fields |= {"client_id": str(uuid.uuid4()), "seconds": "41.5", "comment": ""}
        if rubric := RUBRIC.search(page):
            fields["rubric"] = rubric[1]
        reply = self.browser.post(f"/p/{PROJECT}/work/{task[1]}/submit", fields, KIND, script=True)
        if reply.status != 200:
            raise SystemExit(f"A submit got the status {reply.status}: {reply.text[:500]}")
        self.acknowledged.append(fields["client_id"])
        return reply.text


@contextmanager
def web_process(port: int, data: Path, environment: dict[str, str]) -> Iterator[int]:
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


# ---- in a process of its own -------------------------------------------------------------------------------------


def fill(tasks: int, labelers: int) -> list[str]:
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
    from annotate.models import Guidelines, Membership, Project, Rubric, User

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
    add_comparisons(project, tasks)
    return people


def add_comparisons(project: Any, tasks: int, template: Callable[[str, int], str] | None = None) -> None:
    """So many prompts with responses and a comparison of each, as `queue.add_comparison` makes them.

    template: the text of a response by the number of its prompt and its place.
    """
    from django.db.models import F, Max

    from annotate.labeling.queue import first_overlap
    from annotate.models import Author, Project, Prompt, Response, Task, TaskResponse
    from annotate.models.labeling.task import RANDOM_KEY_BITS
    from benchmarks import bulk_rows as rows

    author = Author.objects.create(kind=Author.Kind.MODEL, name="bench")
    last = {model: model._base_manager.aggregate(last=Max("pk"))["last"] or 0 for model in (Prompt, Response, Task)}
    numbers, overlap = rows.numbers(tasks), str(first_overlap(project))
    prompt, task = f"n + {last[Prompt] + 1}", f"n + {last[Task] + 1}"
    response = f"{K} * n + k + {last[Response] + 1}"
    shown = " UNION ALL ".join(
        f"SELECT {number} AS k, {rows.literal((template or _text)('@task', number))} AS template" for number in range(K)
    )
    each = f"{numbers} CROSS JOIN ({shown}) AS shown"
    question = f"'How do I boil egg number ' || {rows.text_of('n')} || '?'"
    digest = rows.sha256(f"""'[["user","' || {question} || '"]]'""")
    with rows.writing([Prompt, Response, Task, TaskResponse]):
        with_digest = f"(SELECT n, {digest} AS digest FROM {numbers}) AS prompts"
        bucket = f"{rows.first_digits('digest')} % 100"
        rows.insert(
            Prompt,
            with_digest,
            id=prompt,
            project_id=str(project.pk),
            messages=rows.json_of(f"""'[{{"role": "user", "content": "' || {question} || '"}}]'"""),
            content_hash="digest",
            split=f"CASE WHEN {bucket} < 80 THEN 'train' WHEN {bucket} < 90 THEN 'validation' ELSE 'test' END",
        )
        text = f"replace(template, '@task', {rows.text_of('n')})"
        rows.insert(Response, each, id=response, prompt_id=prompt, author_id=str(author.pk), text=text)
        rows.insert(
            Task,
            numbers,
            id=task,
            project_id=str(project.pk),
            prompt_id=prompt,
            judgments_wanted=overlap,
            slots_free=overlap,
            random_key=rows.random_number(RANDOM_KEY_BITS),
        )
        rows.insert(TaskResponse, each, task_id=task, response_id=response, number="k")
        Project.objects.filter(pk=project.pk).update(queue_epoch=F("queue_epoch") + 1)


def _text(task: int | str, number: int) -> str:
    return TEXT.format(number=number, task=task, more="And so on, at some length. " * number * 3)


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "fill":
        print(json.dumps(fill(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        print(json.dumps(service.differences(json.loads(sys.stdin.read()))))
