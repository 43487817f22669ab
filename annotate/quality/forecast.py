"""When the backlog will be done, from the judgments per day of the last weeks. Pure; no database.

The pace of a day has mean m and standard deviation s over n days, so that of the coming days is m +- 1.96 s / sqrt(n).
Whole weeks are looked at, because weekends differ. Work that is added meanwhile comes on top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, stdev

Z_95 = 1.96
FEWEST_DAYS = 3
"""With judgments on fewer days nothing is forecast."""
FARTHEST = 5 * 366
"""Days from now; what is farther away is no date to plan with."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The day on which the backlog will be done; `latest` is None where the pace may be next to nothing."""

    expected: date
    earliest: date
    latest: date | None
    per_day: float


def forecast(backlog: int, per_day: Sequence[int], *, today: date) -> Forecast | None:
    """`per_day`: judgments of whole days before today. None without a backlog or with too little to go by."""
    if backlog <= 0 or sum(count > 0 for count in per_day) < FEWEST_DAYS:
        return None
    mean = fmean(per_day)
    half = Z_95 * stdev(per_day) / math.sqrt(len(per_day))
    expected = _day(backlog, mean, today)
    earliest = _day(backlog, mean + half, today)
    if expected is None or earliest is None:
        return None
    latest = _day(backlog, mean - half, today) if mean > half else None
    return Forecast(expected=expected, earliest=earliest, latest=latest, per_day=mean)


def _day(backlog: int, pace: float, today: date) -> date | None:
    days = math.ceil(backlog / pace)
    return today + timedelta(days=days) if days <= FARTHEST else None
