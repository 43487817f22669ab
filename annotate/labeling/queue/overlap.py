"""How many judgments comparisons want: a change of it is carried into the tasks that there are.

The first tasks are changed while the request waits. The rest is left to a job, in short transactions, so that a change
of a hundred thousand tasks holds up nobody. The job holds a lease, which every transaction renews; when it dies,
another one changes what is left: a task that wants as many as it shall is not touched again.
"""

import time
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling.queue.leases import raise_epoch
from annotate.models import Assignment, Judgment, OverlapChange, Project, Task, TaskChange
from annotate.models.leased_job import JobLease

State = OverlapChange.State
IMPORTED = "imported:"
"""How the names of accounts begin that stand for people outside, see imported_rows."""
AT_ONCE = 500
"""Tasks that are changed within the request: some tenth of a second."""
RESTART_SECONDS = 2.0
"""Between two times at which labelers look at the whole queue again while a change is under way."""


def plan_overlap_change(*, project: Project, overlap: int) -> OverlapChange:
    """Make `overlap` the number of judgments that comparisons want; the change takes the place of an earlier one.

    An open task that has enough already is complete, and a complete one that has too few is open again, but for those
    that came judged, by a file or out of a chat. Leases that are out stay good. The other kinds of task are made with
    a number of their own, and keep it. What is planned is carried out, whoever dies; `begin_overlap_change` follows
    after the caller's transaction. Raises Refused while the number of chosen tasks is being changed.
    """
    # Locks the project, so that of two changes at once one is the newer. With an adaptive overlap, tasks begin with
    # fewer judgments than the project's number.
    Project.objects.filter(pk=project.pk).update(overlap=F("overlap") if project.adaptive_overlap else overlap)
    # The later of two changes holds, and that one would go on after this.
    chosen = TaskChange.objects.filter(project=project, state__in=TaskChange.UNFINISHED)
    if chosen.filter(values__has_key="judgments_wanted").exists():
        raise Refused(
            _("The number of judgments of some tasks is being changed: save the overlap again when that is done."),
            status=409,
        )
    earlier = OverlapChange.objects.filter(project=project, state__in=OverlapChange.UNFINISHED)
    earlier.update(state=State.REPLACED, token=None, lease_until=None, finished_at=timezone.now())
    return OverlapChange.objects.create(project=project, overlap=overlap)


def begin_overlap_change(change: OverlapChange) -> None:
    """Carry out a planned change: the first tasks now, the rest by a job."""
    run_overlap_change(change.pk, most=AT_ONCE)
    change.refresh_from_db()


def run_overlap_change(change_id: int, *, most: int | None = None) -> None:
    """Carry a change into the tasks, unless another job is at work on it or it is dealt with.

    With `most`, of so many tasks at once; a job is asked for when there are more.
    """
    free = OverlapChange.objects.filter(OverlapChange.is_free(timezone.now()))
    if (lease := JobLease.taken(free, change_id)) is None:
        return
    change = OverlapChange.objects.select_related("project").get(pk=change_id)
    # More than once: an import that began before the change goes on making tasks by the former overlap.
    while tasks := _numbers(change, most):
        if most is None:
            lease.renew(tasks_in_all=F("tasks_changed") + len(tasks))
        if not _changed(change, lease, tasks[:most]):
            return
        if most is not None and len(tasks) > most:
            if lease.put_back():
                transaction.on_commit(lambda: _ask_for(change_id))
            return
    # Before it is done, or a job that dies in between leaves labelers who have come to the end of the queue there.
    raise_epoch(project_id=change.project_id)
    lease.end(state=State.DONE, tasks_in_all=F("tasks_changed"))


def abandoned_overlap_changes(*, now: datetime) -> QuerySet[OverlapChange]:
    """Changes that wait, or whose job died."""
    return OverlapChange.objects.filter(OverlapChange.is_free(now)).order_by("pk")


def _numbers(change: OverlapChange, most: int | None) -> list[int]:
    """The tasks that are left; with `most` not more than one more than that."""
    left = _wanting_otherwise(change).order_by("pk").values_list("pk", flat=True)
    return list(left if most is None else left[: most + 1])


def _changed(change: OverlapChange, lease: JobLease, tasks: list[int]) -> bool:
    """Change these tasks; False when another job or a newer change has taken over."""
    pace, restarted = Pace(), time.monotonic()
    for batch in pace.batches(tasks):
        with pace.transaction():
            if not lease.renew():
                return False
            # Locked first: the update must count the leases of a claim that is just committing.
            wanting = _wanting_otherwise(change).filter(pk__in=batch).order_by("pk")
            locked = list(wanting.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
            lease.renew(tasks_changed=F("tasks_changed") + _want(locked, change))
        if time.monotonic() - restarted > RESTART_SECONDS:
            # Not in that transaction: whoever edits the project locks it first and the change after it.
            raise_epoch(project_id=change.project_id)
            restarted = time.monotonic()
    return True


def _wanting_otherwise(change: OverlapChange) -> QuerySet[Task]:
    overlap = change.overlap
    brought = Judgment.objects.filter(task=OuterRef("pk")).filter(
        Q(chat_turn__isnull=False) | Q(completion__isnull=False) | Q(labeler__username__startswith=IMPORTED)
    )
    has_too_few = Q(state=Task.State.COMPLETE, judgments_given__lt=overlap) & ~Exists(brought)
    comparisons = Task.objects.filter(project=change.project_id, kind=Task.Kind.COMPARE).exclude(
        judgments_wanted=overlap
    )
    return comparisons.filter(Q(state=Task.State.OPEN) | has_too_few)


def _want(tasks: list[int], change: OverlapChange) -> int:
    return Task.objects.filter(pk__in=tasks).update(**wanting(change.overlap, adaptive=change.project.adaptive_overlap))


def wanting(judgments: int, *, adaptive: bool) -> dict[str, Any]:
    """What an update gives locked tasks that want so many judgments from now on."""
    # Tasks that labelers disagreed on get their further judgments again, see adaptive_overlap.
    stale = {"checks_stale_at": timezone.now()} if adaptive else {}
    held = (
        Assignment.objects.filter(task=OuterRef("pk"), state__in=Assignment.HELD, is_check=False)
        .order_by()
        .values("task")
        .annotate(held=Count("pk"))
        .values("held")
    )
    enough = When(judgments_given__gte=judgments, then=Value(Task.State.COMPLETE))
    return {
        "judgments_wanted": judgments,
        "slots_free": Greatest(0, judgments - F("judgments_given") - Coalesce(Subquery(held), 0)),
        "state": Case(enough, default=Value(Task.State.OPEN)),
        # A task is for review only while it is complete.
        "consensus_stale_at": Case(
            When(judgments_given__gt=0, then=Value(timezone.now())), default=F("consensus_stale_at")
        ),
        **stale,
    }


def _ask_for(change_id: int) -> None:
    signals.overlap_changed.send_robust(sender=OverlapChange, change_id=change_id)
