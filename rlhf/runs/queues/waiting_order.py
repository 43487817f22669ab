"""The order in which waiting runs start: by priority, then by the place somebody gave them, then by age.

It is held by the rows alone. A message names a run only to wake a worker of its queue, which takes the first one.
"""

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import User
from annotate.people import audit
from rlhf.models import TrainingRun
from rlhf.runs.queues import gpu_workers


def waiting(queue: str = "") -> QuerySet[TrainingRun]:
    """Waiting runs of a queue, or of all but those of live chats, the first to start first."""
    found = TrainingRun.objects.filter(status=TrainingRun.Status.QUEUED).exclude(queue=TrainingRun.LIVE_QUEUE)
    found = found.filter(queue=queue) if queue else found
    return found.order_by("queue", "-priority", F("place").asc(nulls_last=True), "pk")


def first(queue: str) -> int | None:
    """The run that starts next in a queue: in that of GPUs, of those that this worker has enough GPUs for."""
    if queue != gpu_workers.QUEUE:
        return waiting(queue).values_list("pk", flat=True).first()
    return next((run.pk for run in waiting(queue) if gpu_workers.can_take(run)), None)


def position(run: TrainingRun) -> tuple[int, int]:
    """(place from 1 on, number of waiting runs) of a run in its queue; place 0 for one that doesn't wait."""
    if run.status != TrainingRun.Status.QUEUED:
        return 0, 0
    keys = list(waiting(run.queue).values_list("pk", flat=True))
    return (keys.index(run.pk) + 1 if run.pk in keys else 0), len(keys)


def move(*, number: int, by: int, actor: User) -> None:
    """Move a waiting run `by` places (negative: forward) among those of its priority. Raises Refused."""
    with transaction.atomic():
        run = _waiting_run(number)
        peers = list(waiting(run.queue).filter(priority=run.priority).values_list("pk", flat=True))
        old = peers.index(run.pk)
        peers.insert(max(0, old + by), peers.pop(old))
        for place, key in enumerate(peers, start=1):
            TrainingRun.objects.filter(pk=key).update(place=place)
        audit.record(verb="run.moved", actor=actor, subject=run, project=run.project, by=peers.index(run.pk) - old)


def set_priority(*, number: int, priority: int, actor: User) -> None:
    """Give a waiting run another priority; it goes behind the runs that have it. Raises Refused."""
    with transaction.atomic():
        run = _waiting_run(number)
        if priority not in TrainingRun.Priority.values:
            raise Refused(_("There is no such priority."), status=400)
        TrainingRun.objects.filter(pk=run.pk).update(priority=priority, place=None)
        audit.record(
            verb="run.prioritised", actor=actor, subject=run, project=run.project, before=run.priority, after=priority
        )


def _waiting_run(number: int) -> TrainingRun:
    run = waiting().select_related("project").filter(pk=number).first() if 0 <= number < 2**63 else None
    if run is None:
        raise Refused(_("This run doesn’t wait any more."), status=409)
    return run
