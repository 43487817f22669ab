"""Work that one process at a time does, and that another one takes up when that process dies.

A row says how far the work is. Whoever takes it does so by one conditional update, which must change the row, and
writes a token of its own into it. Every later write carries the token and renews the lease, so a process that was taken
for dead changes nothing any more.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone

LEASE = timedelta(seconds=60)
"""A process that has written nothing for so long is taken for dead."""


def was_long_ago(field: str, *, now: datetime, after: timedelta) -> Q:
    """Of rows whose time is further from now than that: also in the future, as it was written while the clock went
    fast. Else what such a row waits for would be missed so much later."""
    return Q(**{f"{field}__lt": now - after}) | Q(**{f"{field}__gt": now + after})


class LeasedJob(models.Model):
    """The fields of such a row. Each model has its own `state`, of which WAITING and WORKING are the usual ones."""

    WAITING, WORKING = "waiting", "working"

    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    @classmethod
    def is_free(cls, now: datetime) -> Q:
        """Of jobs that wait, or whose process died."""
        return Q(state=cls.WAITING) | Q(state=cls.WORKING, lease_until__lt=now)


@dataclass(frozen=True, kw_only=True)
class JobLease:
    """One process's hold of a job while the job is in `state`."""

    model: type[Any]
    job: int
    state: str
    token: uuid.UUID

    @classmethod
    def taken(
        cls, jobs: "QuerySet[Any]", job: int, *, state: str = LeasedJob.WORKING, **values: Any
    ) -> "JobLease | None":
        """Take this job, if it is one of `jobs`; None where it isn't, or somebody else was faster."""
        token = uuid.uuid4()
        values |= {"state": state, "token": token, "lease_until": timezone.now() + LEASE}
        if jobs.filter(pk=job).update(**values) != 1:
            return None
        return cls(model=jobs.model, job=job, state=state, token=token)

    @property
    def held(self) -> "QuerySet[Any]":
        """The job's row, while it is held."""
        return self.model._default_manager.filter(pk=self.job, state=self.state, token=self.token)

    def renew(self, *conditions: Q, **values: Any) -> bool:
        """Write that the process is alive, and these values. False when the job was taken away or one of the conditions
        doesn't hold.

        Called in a transaction it locks the row, so nobody takes the job before the transaction ends.
        """
        return self.held.filter(*conditions).update(lease_until=timezone.now() + LEASE, **values) == 1

    def put_back(self, **values: Any) -> bool:
        """Leave the job to whoever comes next."""
        return self.held.update(state=LeasedJob.WAITING, token=None, lease_until=None, **values) == 1

    def end(self, *, state: str, **values: Any) -> bool:
        return self.held.update(state=state, token=None, lease_until=None, finished_at=timezone.now(), **values) == 1
