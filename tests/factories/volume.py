"""Judgments by the thousand, written at once, for tests of what a real project's size breaks."""

from django.db.models import F, OuterRef, Subquery
from django.utils import timezone

from annotate.models import (
    Assignment,
    Author,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    Response,
    Task,
    TaskResponse,
    User,
)

BATCH = 1_000


def add_judgments(project: Project, labeler: User, count: int) -> None:
    """Add `count` prompts with two responses each, of which the labeler preferred the first one made."""
    for start in range(0, count, BATCH):
        tasks = add_comparisons(project, range(start, min(start + BATCH, count)), complete=True)
        now = timezone.now()
        assignments = Assignment.objects.bulk_create(
            Assignment(
                task=task,
                labeler=labeler,
                project=project,
                state=Assignment.State.SUBMITTED,
                lease_until=now,
                ended_at=now,
                seed=0,
                presentation=ids,
            )
            for task, ids in tasks.items()
        )
        judgments = Judgment.objects.bulk_create(
            Judgment(assignment=assignment, task=assignment.task, labeler=labeler, project=project)
            for assignment in assignments
        )
        JudgmentRevision.objects.bulk_create(
            JudgmentRevision(judgment=judgment, number=1, tiers=[[pk] for pk in judgment.assignment.presentation])
            for judgment in judgments
        )
    latest = JudgmentRevision.objects.filter(judgment=OuterRef("pk")).order_by("-number").values("pk")[:1]
    Judgment.objects.filter(project=project, latest=None).update(latest=Subquery(latest))


def add_comparisons(project: Project, numbers: range, *, complete: bool = False) -> dict[Task, list[int]]:
    """Add a comparison of two responses for each number; {task: response ids}."""
    author, _ = Author.objects.get_or_create(kind=Author.Kind.MODEL, name="a-model", user=None)
    prompts = [
        Prompt(project=project, messages=[{"role": "user", "content": f"What follows {number}?"}], language="en")
        for number in numbers
    ]
    for prompt in prompts:
        prompt.set_content_fields()
    Prompt.objects.bulk_create(prompts)
    responses = Response.objects.bulk_create(
        Response(prompt=prompt, author=author, text=text, finish_reason=Response.FinishReason.EOS)
        for prompt in prompts
        for text in ("A.", "Well, I think that it is B.")
    )
    counts = {"judgments_given": 1, "slots_free": 0, "state": Task.State.COMPLETE} if complete else {}
    tasks = Task.objects.bulk_create(Task(project=project, prompt=prompt, **counts) for prompt in prompts)
    pairs = [responses[place : place + 2] for place in range(0, len(responses), 2)]
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response=response, number=number)
        for task, pair in zip(tasks, pairs, strict=True)
        for number, response in enumerate(pair)
    )
    Project.objects.filter(pk=project.pk).update(queue_epoch=F("queue_epoch") + 1)
    return {task: [response.pk for response in pair] for task, pair in zip(tasks, pairs, strict=True)}
