"""How long a labeler waits: submitting a ranking and getting the next task, on SQLite, with many tasks in the queue.

Measured around the functions that a request calls, in this process: the page itself is not rendered.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from statistics import quantiles

TASKS, JUDGMENTS, K = 20_000, 300, 4


def measure() -> Iterator[tuple[str, float, str]]:
    """(what, figure, unit): median and 95th percentile of submit and next, for one labeler who works on and on."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        os.environ["HONE_DATA"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        times = list(_work())
        connection.close()
    cuts = quantiles(times, n=20)
    yield f"queue: submit and next, {TASKS} tasks, median", cuts[9] * 1000, "ms"
    yield f"queue: submit and next, {TASKS} tasks, 95th percentile", cuts[18] * 1000, "ms"


def _work() -> Iterator[float]:
    """Seconds of each submit-and-next."""
    from annotate import queue
    from annotate.models import Author, Project, Prompt, Response, Task, TaskResponse, User

    project = Project.objects.create(slug="bench", name="Bench", responses_per_task=K)
    labeler = User.objects.create(username="bench")
    author = Author.objects.create(kind=Author.Kind.MODEL, name="bench")
    prompts = [Prompt(project=project, messages=[{"role": "user", "content": f"Prompt {n}"}]) for n in range(TASKS)]
    for prompt in prompts:
        prompt.set_content_fields()
    Prompt.objects.bulk_create(prompts, batch_size=2000)
    responses = Response.objects.bulk_create(
        [Response(prompt=prompt, author=author, text=f"Answer {n}") for prompt in prompts for n in range(K)],
        batch_size=2000,
    )
    tasks = Task.objects.bulk_create([Task(project=project, prompt=prompt) for prompt in prompts], batch_size=2000)
    TaskResponse.objects.bulk_create(
        [TaskResponse(task=tasks[n // K], response=each, number=n % K) for n, each in enumerate(responses)],
        batch_size=2000,
    )
    assignment = queue.claim_next(labeler=labeler, project=project)
    for _ in range(JUDGMENTS):
        assert assignment is not None, "there are more tasks than judgments"
        tiers = tuple((response_id,) for response_id in assignment.presentation)
        submission = queue.Submission(client_id=uuid.uuid4(), tiers=tiers)
        began = time.perf_counter()
        queue.submit(assignment_id=assignment.pk, labeler=labeler, submission=submission)
        assignment = queue.claim_next(labeler=labeler, project=project)
        yield time.perf_counter() - began
