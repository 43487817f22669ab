"""Gold tasks: comparisons with a known order, hidden among a labeler's ordinary tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Avg, Count, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.checks import placement
from annotate.labeling.ordering import Ordering
from annotate.models import Project, QualityCheck, Task, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure


@dataclass(frozen=True, kw_only=True)
class GoldTask:
    """A gold task on the manager's page: how often it was judged, how often exactly right, and the mean score."""

    task: Task
    judged: int = 0
    right: int = 0
    score: float | None = None
    responses: int = 0

    @property
    def stands_out(self) -> bool:
        """Whether its number of responses differs from the project's, by which labelers could tell it."""
        return self.responses != self.task.project.responses_per_task


def promote(*, task: Task, by: User, tiers: Sequence[Sequence[int]] | None = None) -> Task:
    """Make a comparison a gold task. `tiers` is the known order as tiers of response ids; None: the one it has.

    Judgments that it got before stay what they are, and leases that are out can be submitted. Raises NotYours,
    InvalidOrdering, UnknownResponse, and Refused without an order that prefers anything.
    """
    ensure(by, Capability.MANAGE, task.project)
    known = checked_order(
        task.gold_tiers if tiers is None else tiers, task.task_responses.values_list("response_id", flat=True)
    )
    with transaction.atomic():
        placement.take_out_of_queue(task, state=Task.State.GOLD, gold_tiers=known)
        audit.record(verb="gold.added", actor=by, subject=task, project=task.project)
    task.refresh_from_db()
    return task


def checked_order(tiers: Any, responses: Iterable[int]) -> list[list[int]]:
    """A known order from untrusted lists. Raises InvalidOrdering, UnknownResponse, or Refused (400)."""
    if not tiers:
        raise Refused(_("A gold task needs a known order of its responses."), status=400)
    ordering = Ordering.validated(tiers, responses)
    if not ordering.pairs():
        raise Refused(_("The known order of a gold task has to prefer at least one response to another."), status=400)
    return [list(tier) for tier in ordering.tiers]


def remove(*, task: Task, by: User) -> Task:
    """Put a gold task back into the queue, if it still wants judgments. Its scores stay, and so do leases of it."""
    ensure(by, Capability.MANAGE, task.project)
    with transaction.atomic():
        if not placement.put_back(task, state=Task.State.GOLD):
            raise Refused(_("This task isn't a gold task."))
        audit.record(verb="gold.removed", actor=by, subject=task, project=task.project)
    task.refresh_from_db()
    return task


def listed(tasks: Iterable[Task]) -> list[GoldTask]:
    """These gold tasks with their figures."""
    tasks = list(tasks)
    keys = [task.pk for task in tasks]
    checks = QualityCheck.objects.filter(kind=QualityCheck.Kind.GOLD, judgment__task__in=keys).order_by()
    counted = checks.values_list("judgment__task").annotate(
        judged=Count("pk"), right=Count("pk", filter=Q(score=1)), score=Avg("score")
    )
    figures = {task: (judged, right, score) for task, judged, right, score in counted}
    counts = dict(
        Task.objects.filter(pk__in=keys).order_by().annotate(count=Count("task_responses")).values_list("pk", "count")
    )
    found = []
    for task in tasks:
        judged, right, score = figures.get(task.pk, (0, 0, None))
        found.append(GoldTask(task=task, judged=judged, right=right, score=score, responses=counts.get(task.pk, 0)))
    return found


def tasks_of(project: Project) -> QuerySet[Task]:
    """The project's gold tasks, the newest first."""
    return Task.objects.filter(project=project, state=Task.State.GOLD).order_by("-pk")
