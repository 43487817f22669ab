"""How long a labeler waits: submitting a ranking and getting the next task, through the real view with all middleware.

One labeler works through a queue of 100,000 comparisons of four answers, with a rubric, on SQLite and on PostgreSQL
(when it is installed), each in a process of its own. Between two submits the page asks for the task after this one, as
a browser does while the labeler reads; that is measured by itself. A browser that shows that task already gets the
receipt alone; a submit that has to bring the whole next task is measured too. The network is not in the figures.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.postgresql import PostgresServer, find_program

TASKS, JUDGMENTS, WARM_UP, K = 100_000, 300, 20, 4
ANSWER = """Put the eggs in **cold water**, bring it to the boil, then:

1. take the pot off the heat
2. wait ten minutes, or {number} for a very hard yolk
3. cool them in ice water

```python
def boil(eggs):
    return [egg for egg in eggs if egg.is_fresh]
```

The time doubles with `size`; see answer {number} of {task}. {more}
"""


def measure() -> Iterator[tuple[str, float, str]]:
    """(what, figure, unit): median and 95th percentile of submit and next, on each database."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        yield from _measured("SQLite", Path(folder) / "sqlite", {})
        if find_program("initdb") is None:
            return
        server = PostgresServer.start(Path(folder) / "postgresql")
        try:
            yield from _measured("PostgreSQL", Path(folder) / "data", {"DATABASE_URL": server.url})
        finally:
            server.stop()


def _measured(name: str, data: Path, environment: dict[str, str]) -> Iterator[tuple[str, float, str]]:
    """A database's figures, from a process of its own: settings are read once in a process."""
    data.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.labeling_queue"],
        env={**os.environ, "HONE_DATA": str(data), "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for what, seconds in json.loads(done.stdout.strip().split("\n")[-1]).items():
        cuts = quantiles(seconds, n=20)
        yield f"{name}: {what}, median", cuts[9] * 1000, "ms"
        yield f"{name}: {what}, 95th percentile", cuts[18] * 1000, "ms"


def _work() -> dict[str, list[float]]:
    """Seconds of each request, by kind, of one labeler who works on and on."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client

    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    _fill()
    from annotate.labeling import queue, task_kinds
    from annotate.models import Project, User

    project, labeler = Project.objects.get(), User.objects.get(username="bench")
    client = Client(headers={"HX-Request": "true"})
    client.force_login(labeler)
    client.get("/p/bench/work/", headers={"HX-Request": ""})
    times: dict[str, list[float]] = {"submit and next task": [], "submit, next one shown already": [], "task ahead": []}
    for number in range(WARM_UP + 2 * JUDGMENTS):
        began = time.perf_counter()
        ahead = client.get("/p/bench/work/ahead")
        asked = time.perf_counter() - began
        assert ahead.status_code == 200, ahead.status_code
        current = queue.claim_next(labeler=labeler, project=project, ahead=False)
        assert current is not None
        names = task_kinds.response_keys(current)
        fields = _judgment([names.key(response_id) for response_id in current.presentation])
        whole = number % 2 == 0
        if not whole:
            fields["shown"] = ahead["X-Hone-Task"]
        began = time.perf_counter()
        answer = client.post(f"/p/bench/work/{current.pk}/submit", fields)
        submitted = time.perf_counter() - began
        assert answer.status_code == 200
        assert answer["X-Hone-Task"] == ahead["X-Hone-Task"]
        assert (b'<section id="work"' in answer.content) == whole, "the next task comes in the same answer"
        if number >= WARM_UP:
            times["task ahead"].append(asked)
            times["submit and next task" if whole else "submit, next one shown already"].append(submitted)
    return times


def _judgment(keys: list[str]) -> dict[str, Any]:
    """What the board's form sends."""
    fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys, start=1)}
    fields |= {f"rating-{key}-overall": "5" for key in keys}
    return fields | {"client_id": str(uuid.uuid4()), "seconds": "41.5", "comment": ""}


def _fill() -> None:
    """A project with its queue full, and a labeler."""
    from annotate.forms.rubric import PRESETS, CriteriaField, FlagsField
    from annotate.models import (
        Author,
        Guidelines,
        Membership,
        Project,
        Prompt,
        Response,
        Rubric,
        Task,
        TaskResponse,
        User,
    )

    project = Project.objects.create(slug="bench", name="Bench", responses_per_task=K)
    _label, criteria, flags = PRESETS["instructgpt"]
    Rubric.objects.create(
        project=project, version=1, criteria=CriteriaField().clean(criteria), flags=FlagsField().clean(flags)
    )
    Guidelines.objects.create(project=project, version=1, text="Be kind. " * 200)
    labeler = User.objects.create(username="bench")
    Membership.objects.create(user=labeler, project=project, role=Membership.Role.LABELER)
    author = Author.objects.create(kind=Author.Kind.MODEL, name="bench")
    for start in range(0, TASKS, 5_000):
        prompts = [
            Prompt(project=project, messages=[{"role": "user", "content": f"How do I boil egg number {number}?"}])
            for number in range(start, start + 5_000)
        ]
        for prompt in prompts:
            prompt.set_content_fields()
        Prompt.objects.bulk_create(prompts, batch_size=1_000)
        responses = Response.objects.bulk_create(
            [
                Response(
                    prompt=prompt,
                    author=author,
                    text=ANSWER.format(
                        number=number, task=start + index, more="And so on, at some length. " * number * 3
                    ),
                )
                for index, prompt in enumerate(prompts)
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


if __name__ == "__main__":
    print(json.dumps(_work()))
