"""Shares and means with 95% intervals, from sums that can be added up. Pure; no database.

What is counted in one task (or one judgment) goes together: it is a cluster. A ratio of totals over m clusters,
r = H / N with H = sum h_i and N = sum n_i, has by linearisation (Cochran 1977, equation 11.10, without the correction
for a finite population) the variance

    var(r) = m / (m - 1) * sum (h_i - r n_i)^2 / N^2
    sum (h_i - r n_i)^2 = sum h_i^2 - 2 r sum h_i n_i + r^2 sum n_i^2

so that six sums per ratio give the interval r +- z sqrt(var(r)), however many clusters there are.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Self

FEW_CLUSTERS = 10
Z_95 = 1.959963984540054
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for a 95% interval, by the number of groups (one more than the degrees of freedom)."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over clusters of (h, n): how many there are, h, n, h squared, h times n, n squared. Clusters have n > 0."""

    clusters: int = 0
    h: int = 0
    n: int = 0
    hh: int = 0
    hn: int = 0
    nn: int = 0

    @classmethod
    def of_cluster(cls, h: int, n: int) -> Self:
        return cls(1, h, n, h * h, h * n, n * n) if n else cls()

    @classmethod
    def of_clusters(cls, clusters: Iterable[tuple[int, int]]) -> Self:
        return sum((cls.of_cluster(h, n) for h, n in clusters), cls())

    @classmethod
    def read(cls, sums: Mapping[str, int], name: str) -> Self:
        """Out of counters that `cluster_counters` named, added up."""
        n = sums.get(f"{name}.n", 0)
        if not n:
            return cls()
        read = sums.get
        return cls(
            read(f"{name}.clusters", 0),
            read(f"{name}.h", 0),
            n,
            read(f"{name}.hh", 0),
            read(f"{name}.hn", 0),
            read(f"{name}.nn", 0),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))

    @property
    def ratio(self) -> float | None:
        return self.h / self.n if self.n else None

    @property
    def standard_error(self) -> float | None:
        """None with fewer than two clusters."""
        if self.clusters < 2 or not self.n:
            return None
        rate = self.h / self.n
        residual = max(0.0, self.hh - 2 * rate * self.hn + rate * rate * self.nn)
        return math.sqrt(self.clusters / (self.clusters - 1) * residual) / self.n


def cluster_counters(name: str, h: int, n: int) -> dict[str, int]:
    """The moments of one cluster as counters "name.field"."""
    if not n:
        return {}
    return {
        f"{name}.clusters": 1,
        f"{name}.h": h,
        f"{name}.n": n,
        f"{name}.hh": h * h,
        f"{name}.hn": h * n,
        f"{name}.nn": n * n,
    }


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval; None where there is nothing to estimate it from."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of_mean(cls, moments: Moments, *, unit: float, lowest: float, highest: float) -> Self:
        """The ratio times `unit`, with a normal interval within the bounds; none with under FEW_CLUSTERS clusters."""
        ratio, error = moments.ratio, moments.standard_error
        if ratio is None:
            return cls(None)
        if error is None or moments.clusters < FEW_CLUSTERS:
            return cls(ratio * unit)
        half = Z_95 * error
        return cls(ratio * unit, max(lowest, (ratio - half) * unit), min(highest, (ratio + half) * unit))

    @classmethod
    def of_difference(cls, one: Moments, other: Moments) -> Self:
        """The ratio of one minus that of the other, of clusters that are independent of each other."""
        if one.ratio is None or other.ratio is None:
            return cls(None)
        value = one.ratio - other.ratio
        if (
            min(one.clusters, other.clusters) < FEW_CLUSTERS
            or one.standard_error is None
            or other.standard_error is None
        ):
            return cls(value)
        half = Z_95 * math.hypot(one.standard_error, other.standard_error)
        return cls(value, value - half, value + half)

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, with a 95% interval. `rate`, `low` and `high` are None when there was nothing to count."""

    hits: int
    total: int
    low: float | None
    high: float | None
    clusters: int = 0

    @property
    def rate(self) -> float | None:
        return self.hits / self.total if self.total else None

    @classmethod
    def of_moments(cls, moments: Moments) -> Self:
        """The normal interval of the linearised ratio.

        With few clusters, or when all or none are hits, that says too little: then Wilson's interval for the rate over
        as many independent trials as there are clusters, which is rather too wide than too narrow.
        """
        hits, total, clusters = moments.h, moments.n, moments.clusters
        if not total:
            return cls(0, 0, None, None)
        error = moments.standard_error
        if clusters < FEW_CLUSTERS or hits in (0, total) or not error:
            return cls(hits, total, *wilson(hits / total, clusters), clusters)
        half = Z_95 * error
        return cls(hits, total, max(0.0, hits / total - half), min(1.0, hits / total + half), clusters)

    @classmethod
    def of_clusters(cls, clusters: Iterable[tuple[int, int]]) -> Self:
        """From (hits, total) per task. The pairs of one task go together."""
        return cls.of_moments(Moments.of_clusters(clusters))

    @classmethod
    def of_trials(cls, hits: int, trials: int) -> Self:
        """Of independent trials, by Wilson's interval."""
        if not trials:
            return cls(0, 0, None, None)
        return cls(hits, trials, *wilson(hits / trials, trials), trials)


def wilson(rate: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a rate (Wilson 1927)."""
    spread = Z_95**2 / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def jackknife(
    groups: Sequence[Mapping[str, int]], statistic: Callable[[Mapping[str, int]], float | None], *, highest: float
) -> Estimate:
    """A statistic of the sums of all groups, with the interval of the delete-a-group jackknife (Kott 2001).

        var = (G - 1) / G * sum (s_without_g - s)^2,    s +- t(G - 1) sqrt(var)

    Groups without anything in them don't count; with fewer than two of them there is no interval.
    """
    filled = [group for group in groups if group]
    total: dict[str, int] = {}
    for group in filled:
        for name, count in group.items():
            total[name] = total.get(name, 0) + count
    value = statistic(total)
    if value is None or len(filled) < 2:
        return Estimate(value)
    without = []
    for group in filled:
        left = statistic({name: count - group.get(name, 0) for name, count in total.items()})
        if left is None:
            return Estimate(value)
        without.append(left)
    size = len(filled)
    half = T_95.get(size, Z_95) * math.sqrt((size - 1) / size * math.fsum((one - value) ** 2 for one in without))
    return Estimate(value, value - half, min(highest, value + half))


def binomial_tail(hits: int, trials: int, chance: float) -> float:
    """Probability of at least so many hits, by the normal approximation with a correction for continuity."""
    if not trials or not 0 < chance < 1:
        return 1.0
    spread = math.sqrt(trials * chance * (1 - chance))
    return 1 - NormalDist().cdf((hits - 0.5 - trials * chance) / spread)


def quantile(histogram: Mapping[float, int], share: float) -> float | None:
    """The value below which this share of the counted values lies, by linear interpolation between neighbours."""
    total = sum(histogram.values())
    if not total:
        return None
    place = share * (total - 1)
    values = sorted(histogram)
    low = _value_at(values, histogram, math.floor(place))
    high = _value_at(values, histogram, math.ceil(place))
    return low + (high - low) * (place - math.floor(place))


def _value_at(values: Sequence[float], histogram: Mapping[float, int], place: int) -> float:
    before = 0
    for value in values:
        before += histogram[value]
        if place < before:
            return value
    return values[-1]
