"""Leaky buckets: so many at once, then one more each so many seconds.

A bucket is one number, the time at which it will have drained, so that taking from it is one conditional update and
what has drained needs no row. Buckets in the database are shared by all processes and outlive them; buckets in memory
belong to one process and cost nothing.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from django.db.models import F, FloatField, Value
from django.db.models.functions import Greatest
from django.utils.crypto import salted_hmac

from config.models import RateBucket

ROUNDING = 1e-3
"""Seconds: sums of times are rounded, and a bucket that is just whole must not count as short of some."""


@dataclass(frozen=True)
class Limit:
    """`burst` at once, then one each `interval` seconds; unused for burst * interval seconds, the burst is whole."""

    burst: int
    interval: float


@dataclass(frozen=True)
class SharedBucket:
    """A bucket in the database. Its row carries a keyed hash: neither names nor addresses can be read from it."""

    kind: str
    value: str
    limit: Limit

    @property
    def key(self) -> str:
        return f"{self.kind}:{salted_hmac('config.rate_limits', self.value, algorithm='sha256').hexdigest()[:48]}"

    def take(self) -> float:
        """Take one and return 0, or the seconds until there is one; then nothing is taken."""
        now, key = time.time(), self.key
        if self._take_from_row(key, now):
            return 0.0
        # Drained rows go whenever one is added, so that there are never more than were used lately.
        RateBucket.objects.filter(drained_at__lt=now).delete()
        row, created = RateBucket.objects.get_or_create(key=key, defaults={"drained_at": now + self.limit.interval})
        if created or self._take_from_row(key, now):
            return 0.0
        return max(0.1, row.drained_at + self.limit.interval - now - self.limit.burst * self.limit.interval)

    def give_back(self) -> None:
        RateBucket.objects.filter(key=self.key).update(drained_at=F("drained_at") - self.limit.interval)

    def empty(self) -> None:
        RateBucket.objects.filter(key=self.key).delete()

    def _take_from_row(self, key: str, now: float) -> bool:
        fullest = now + (self.limit.burst - 1) * self.limit.interval
        later = Greatest(F("drained_at"), Value(now, output_field=FloatField())) + self.limit.interval
        return RateBucket.objects.filter(key=key, drained_at__lte=fullest).update(drained_at=later) == 1


class MemoryBuckets:
    """Buckets of one process by key. Beyond `most` keys the one that was used longest ago is forgotten."""

    def __init__(self, most: int = 10_000) -> None:
        self._drained_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def take(self, kind: str, value: str, limit: Limit) -> float:
        """Take one and return 0, or the seconds until there is one; then nothing is taken."""
        now, key = time.monotonic(), (kind, value)
        with self._lock:
            drained_at = max(self._drained_at.get(key, now), now)
            wait = drained_at - now - (limit.burst - 1) * limit.interval
            if wait > ROUNDING:
                return wait
            self._drained_at[key] = drained_at + limit.interval
            self._drained_at.move_to_end(key)
            while len(self._drained_at) > self._most:
                self._drained_at.popitem(last=False)
            return 0.0
