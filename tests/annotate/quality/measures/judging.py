"""Judgments as a test wants them, whatever the queue would give out."""

from datetime import datetime

from annotate.models import Assignment, Judgment, MeasuresState, MeasureSums, Project, Task, User
from tests.factories.cast import hand_in, response_ids

Rows = dict[tuple[object, ...], dict[str, int]]


def assigned(task: Task, labeler: User, *, shown: list[int] | None = None) -> Assignment:
    """The task in the labeler's hands, opened just now; `shown` is the order of the page."""
    Task.objects.filter(pk=task.pk).update(slots_free=task.judgments_wanted, state=Task.State.OPEN)
    Assignment.objects.filter(labeler=labeler, state__in=Assignment.HELD).update(state=Assignment.State.EXPIRED)
    return Assignment.objects.create(
        task=task,
        labeler=labeler,
        project=task.project,
        lease_until=task.created_at,
        opened_at=task.created_at,
        seed=0,
        presentation=shown or response_ids(task),
    )


def judged(
    task: Task, labeler: User, order: str, *, at: datetime | None = None, shown: str = "", **values: object
) -> Judgment:
    """order: "B > A = C", and shown: "BAC", letters in the order in which the responses were made."""
    ids = dict(zip("ABCDEFGHI", response_ids(task), strict=False))
    tiers = [[ids[letter.strip()] for letter in tier.split("=")] for tier in order.split(">")]
    assignment = assigned(task, labeler, shown=[ids[letter] for letter in shown])
    judgment = hand_in(assignment, tiers=tiers, **values).judgment
    if at is not None:
        Judgment.objects.filter(pk=judgment.pk).update(created_at=at)
    return judgment


def stored_sums(project: Project) -> Rows:
    """All rows of sums that are in use."""
    generation = MeasuresState.objects.get(project=project).generation
    rows = MeasureSums.objects.filter(project=project, generation=generation)
    return {tuple(getattr(row, name) for name in MeasureSums.KEY): row.sums for row in rows}
