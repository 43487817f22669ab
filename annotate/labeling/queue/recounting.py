"""Tasks whose judgments count otherwise than before: counted again, and given out again where that is wanted.

All inside the caller's transaction, which has locked the assignments of these tasks that it changes. At most as many
tasks as fit into one short transaction.
"""

from collections.abc import Sequence

from django.db.models import Case, Count, Exists, F, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from annotate.models import Assignment, Judgment, Project, Task

State = Task.State


def recount(tasks: Sequence[int], *, project_id: int, by: int, give_out_again: bool) -> None:
    """Count so many judgments more (`by` 1) or fewer (-1) in each of these tasks.

    An open task is complete, or has places, by its new number. A complete one that falls short stays complete, unless
    it shall be given out again. What a chat brought with it is no work for anybody else.
    """
    if not tasks:
        return
    chosen = _locked(tasks)
    chosen.update(judgments_given=Greatest(0, F("judgments_given") + by), consensus_stale_at=timezone.now())
    if give_out_again:
        of_a_chat = Judgment.objects.filter(task=OuterRef("pk"), chat_turn__isnull=False)
        short = chosen.filter(state=State.COMPLETE, judgments_given__lt=F("judgments_wanted"))
        short.filter(~Exists(of_a_chat)).update(state=State.OPEN)
    _place(chosen, project_id=project_id)


def want_more(tasks: Sequence[int], *, project_id: int, judgments: int) -> int:
    """Open these complete tasks for so many judgments more; how many were complete still."""
    chosen = _locked(tasks)
    changed = chosen.filter(state=State.COMPLETE).update(
        state=State.OPEN, judgments_wanted=F("judgments_given") + judgments, consensus_stale_at=timezone.now()
    )
    _place(chosen, project_id=project_id)
    return changed


def _locked(tasks: Sequence[int]) -> QuerySet[Task]:
    chosen = Task.objects.filter(pk__in=tasks)
    list(chosen.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    return chosen


def _place(chosen: QuerySet[Task], *, project_id: int) -> None:
    """Set the places of open tasks, and let labelers who have come past them look at them again."""
    held = Assignment.objects.filter(task=OuterRef("pk"), state__in=Assignment.HELD, is_check=False)
    leases = Coalesce(Subquery(held.order_by().values("task").annotate(held=Count("pk")).values("held")), 0)
    enough = When(judgments_given__gte=F("judgments_wanted"), then=Value(State.COMPLETE))
    chosen.filter(state=State.OPEN).update(
        slots_free=Greatest(0, F("judgments_wanted") - F("judgments_given") - leases),
        state=Case(enough, default=Value(State.OPEN)),
    )
    offered = chosen.filter(state=State.OPEN, slots_free__gt=0)
    projects = Project.objects.filter(pk=project_id)
    projects.update(reopened_count=F("reopened_count") + 1)
    # The project is locked now, so whoever sees the number sees the tasks as they are.
    offered.update(reopened=projects.values_list("reopened_count", flat=True).get())
