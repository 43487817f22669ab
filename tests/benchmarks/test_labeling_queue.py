import json
import os
import subprocess
import sys

import pytest
from django.db.models import Model

from annotate.labeling import queue
from annotate.models import Author, Project, Prompt, Response
from benchmarks import labeling_queue
from benchmarks.load import service
from tests.conftest import ROOT
from tests.factories.cast import Cast, cast, make_comparison

__all__ = ["cast"]


def test_the_last_line_has_the_figures_of_a_database_and_none_is_lost_or_given_too_often() -> None:
    size = ["--tasks", "50", "--labelers", "2", "--submits", "5", "--pause", "0", "0.01", "--database", "sqlite"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "queue", *size], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    assert set(figures) == {"sqlite", "sqlite, pause 0.01 s"}
    for pause, found in zip((0.0, 0.01), figures.values(), strict=True):
        times = [found.pop(name) for name in ("submit_next_p50_ms", "submit_next_p95_ms", "cpu_ms", "labelers_cpu_ms")]
        assert found == {"over_assigned": 0, "lost": 0, "submits": 10, "pause_s": pause}
        assert 0 < times[0] <= times[1]
        assert min(times) > 0


def test_processes_that_have_ended_count_among_those_of_a_database() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); print(); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert service.children(process.pid) == []
        # The kernel tells the times of programs and of the system in whole ticks, both rounded down.
        assert service.family_seconds(process.pid) >= 0.2 - 2 / os.sysconf("SC_CLK_TCK")


@pytest.mark.django_db(transaction=True)
def test_its_tasks_are_those_that_the_queue_itself_makes(cast: Cast) -> None:
    labeling_queue.add_comparisons(cast.project, 4)
    author = Author.objects.create(kind=Author.Kind.MODEL, name="another")
    for number in range(4):
        content = f"How do I boil egg number {number}?"
        prompt = Prompt.objects.create(project=cast.other_project, messages=[{"role": "user", "content": content}])
        responses = [
            Response.objects.create(prompt=prompt, author=author, text=labeling_queue._text(number, place))
            for place in range(labeling_queue.K)
        ]
        queue.add_comparison(project=cast.other_project, prompt=prompt, responses=responses)
    written, made = rows_of(cast.project), rows_of(cast.other_project)
    assert len(written) == 4
    assert written == made
    # And the next row gets a number of its own.
    make_comparison(cast.project)
    assert queue.claim_next(labeler=cast.labeler, project=Project.objects.get(pk=cast.project.pk)) is not None


def rows_of(project: Project) -> list[list[dict[str, object]]]:
    """Each task with its prompt and responses, without what differs from row to row."""
    found = []
    for task in project.tasks.select_related("prompt").order_by("pk"):
        assert task.prompt is not None
        shown = task.task_responses.select_related("response").order_by("number")
        rows: list[Model] = [task, task.prompt]
        for link in shown:
            rows += [link, link.response]
        keys = {name for row in rows for name in ("id", f"{row._meta.model_name}_id")}
        own = {*keys, "project_id", "author_id", "created_at", "random_key", "position", "reopened"}
        found.append([{name: value for name, value in values(row).items() if name not in own} for row in rows])
    return found


def values(row: Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
