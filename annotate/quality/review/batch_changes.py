"""Changes of many judgments or tasks: planned in a request, carried out in short transactions beside people at work.

The first records are changed while the request waits. The rest is left to a job that holds a lease, which every
transaction renews; when it dies, another one changes what is left. A record that is changed already is not touched
again.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from annotate import signals
from annotate.data.pacing import Pace
from annotate.models.leased_job import JobLease
from annotate.models.quality.review import BatchChange

State = BatchChange.State
AT_ONCE = 200
"""Records that are changed within the request."""
C = TypeVar("C", bound=BatchChange)


class Job(Generic[C]):
    """A kind of change. left: keys of the records to be changed, in their order. apply: changes some of them, inside a
    transaction that has renewed the lease, and returns how many it changed."""

    def __init__(
        self, model: type[C], *, left: Callable[[C], QuerySet[Any, int]], apply: Callable[[C, list[int]], int]
    ) -> None:
        self.model, self.left, self.apply = model, left, apply

    @property
    def rows(self) -> QuerySet[C]:
        return self.model._default_manager.all()

    def begin(self, change: C) -> None:
        """Carry out a planned change after its transaction: the first records now, the rest by a worker."""
        self.run(change.pk, most=AT_ONCE)
        change.refresh_from_db()

    def hand_over(self, change: C) -> None:
        """Leave a planned change to a worker, once the transaction that plans it is committed."""
        transaction.on_commit(lambda: self._ask_for(change.pk))

    def run(self, change_id: int, *, most: int | None = None) -> None:
        """Carry it out, unless another job is at work on it or it is done. With `most`, so many records of it."""
        lease = JobLease.taken(self.rows.filter(self.model.is_free(timezone.now())), change_id)
        if lease is None:
            return
        change = self.rows.get(pk=change_id)
        left = self.left(change)
        keys = list(left if most is None else left[: most + 1])
        if most is None:
            lease.renew(in_all=F("done") + len(keys))
        pace = Pace()
        for batch in pace.batches(keys[:most]):
            with pace.transaction():
                if not lease.renew():
                    return
                lease.renew(done=F("done") + self.apply(change, batch))
        if most is not None and len(keys) > most:
            lease.put_back()
            transaction.on_commit(lambda: self._ask_for(change_id))
        else:
            lease.end(state=State.DONE, in_all=F("done"))

    def _ask_for(self, change_id: int) -> None:
        name = self.model._meta.model_name
        signals.batch_change_planned.send_robust(sender=self.model, name=name, change_id=change_id)

    def abandoned(self, *, now: datetime) -> QuerySet[C]:
        """Changes that wait, or whose job died."""
        return self.rows.filter(self.model.is_free(now)).order_by("pk")
