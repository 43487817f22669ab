"""Leaky buckets in memory: how many at once, and when the next one is there."""

import random

import pytest

from config.security import rate_limits
from config.security.rate_limits import Limit, MemoryBuckets


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("limit", [Limit(burst=1, interval=900), Limit(burst=8, interval=112.5), Limit(600, 0.05)])
def test_a_whole_bucket_gives_its_burst_at_once_at_any_time(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of times are rounded: at one time in five a bucket of one came out a little less than whole."""
    draw = random.Random(0)
    for _ in range(200):
        clock = Clock(draw.uniform(0, 10 ** draw.uniform(1, 7)))
        monkeypatch.setattr(rate_limits, "time", clock)
        buckets = MemoryBuckets()
        assert [buckets.take("kind", "value", limit) for _ in range(limit.burst)] == [0.0] * limit.burst, clock.now
        assert buckets.take("kind", "value", limit) == pytest.approx(limit.interval, abs=1e-5)
        clock.now += limit.interval
        assert buckets.take("kind", "value", limit) == 0.0, clock.now
