"""Comparisons taken out of the queue for a hidden check, and put back."""

from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.queue import leases
from annotate.models import Assignment, Task


def take_out_of_queue(task: Task, *, state: str, **values: Any) -> None:
    """Give no more slots of a comparison, inside the caller's transaction. Leases that are out can be submitted.

    Raises Refused.
    """
    if task.kind != Task.Kind.COMPARE or task.state not in (Task.State.OPEN, Task.State.COMPLETE):
        raise Refused(_("Only comparisons that are open or complete can be used for this."))
    unchanged = Task.objects.filter(pk=task.pk, state=task.state)
    if unchanged.update(state=state, slots_free=0, **values) != 1:
        raise Refused(_("The task changed meanwhile. Try again."))


def put_back(task: Task, *, state: str) -> bool:
    """Put a task of this state back into the queue, complete where it has its judgments. False where it is of another
    state. Inside the caller's transaction."""
    locked = Task.objects.select_for_update(no_key=True).filter(pk=task.pk, state=state).first()
    if locked is None:
        return False
    held = locked.assignments.filter(state__in=Assignment.HELD, is_check=False).count()
    locked.state = Task.State.COMPLETE if locked.judgments_given >= locked.judgments_wanted else Task.State.OPEN
    locked.slots_free = max(0, locked.judgments_wanted - locked.judgments_given - held)
    locked.save(update_fields=["state", "slots_free"])
    leases.raise_epoch(project_id=locked.project_id)
    return True
