"""How far labelers agree, and what else shows in their orderings. Pure; no database.

Two labelers are compared on every two responses that both ranked. They agree when they prefer the same one, or when
both tie them; a tie against a preference is a disagreement. The strict rate looks only at pairs that neither tied,
which is the figure papers quote (InstructGPT: 72.6%).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import krippendorff
import numpy as np

from annotate.labeling.ordering import Ordering

RESAMPLES = 2_000
FEW_TASKS = 10
Z_95 = 1.959963984540054

# The orderings of one task by labeler.
JudgedTask = Mapping[int, Ordering]


@dataclass(frozen=True)
class Share:
    """How many of how many, with a 95% interval. `rate`, `low` and `high` are None when there was nothing to count."""

    hits: int
    total: int
    low: float | None
    high: float | None

    @property
    def rate(self) -> float | None:
        return self.hits / self.total if self.total else None

    @classmethod
    def of_clusters(cls, clusters: Sequence[tuple[int, int]]) -> Self:
        """From (hits, total) per task. The pairs of one task go together, so tasks are resampled and not pairs.

        With few tasks, or when all or none agree, resampling says too little: then Wilson's interval for that rate over
        as many independent trials as there are tasks, which is rather too wide than too narrow.
        """
        counted = np.array([cluster for cluster in clusters if cluster[1]], dtype=np.int64).reshape(-1, 2)
        hits, total = (int(number) for number in counted.sum(axis=0))
        if not total:
            return cls(0, 0, None, None)
        if len(counted) < FEW_TASKS or hits in (0, total):
            return cls(hits, total, *wilson(hits / total, len(counted)))
        drawn = np.random.default_rng(0).integers(len(counted), size=(RESAMPLES, len(counted)))
        sums = np.stack([counted[rows].sum(axis=0) for rows in drawn])
        low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
        return cls(hits, total, float(low), float(high))


def wilson(rate: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a rate (Wilson 1927)."""
    spread = Z_95**2 / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def agreement(tasks: Iterable[JudgedTask], *, strict: bool = False) -> Share:
    """Pairwise agreement over all tasks and all two labelers of each. strict: only pairs that neither of them tied."""
    return Share.of_clusters(
        [
            _sum(_agreeing(one, other, strict=strict) for one, other in combinations(orderings.values(), 2))
            for orderings in tasks
        ]
    )


def pairwise_agreement(orderings: Iterable[Ordering]) -> float | None:
    """The share of agreeing pairs over all two labelers of one task; None where no two have ranked the same pair."""
    hits, total = _sum(_agreeing(one, other, strict=False) for one, other in combinations(orderings, 2))
    return hits / total if total else None


def agreement_with_others(tasks: Iterable[JudgedTask], *, strict: bool = False) -> dict[int, Share]:
    """Each labeler's agreement with whoever judged the same tasks."""
    clusters: dict[int, list[tuple[int, int]]] = {}
    for orderings in tasks:
        for labeler, mine in orderings.items():
            others = (ordering for other, ordering in orderings.items() if other != labeler)
            clusters.setdefault(labeler, []).append(_sum(_agreeing(mine, other, strict=strict) for other in others))
    return {labeler: Share.of_clusters(counted) for labeler, counted in clusters.items()}


def ordinal_alpha(tasks: Iterable[JudgedTask]) -> float | None:
    """Krippendorff's alpha of the ranks as ordinal values, each response a unit. None where it isn't defined."""
    units = []
    for orderings in tasks:
        ranks = [ordering.ranks() for ordering in orderings.values()]
        for response_id in sorted(set().union(*ranks)):
            given = [rank[response_id] for rank in ranks if response_id in rank]
            if len(given) > 1:
                units.append(given)
    levels = sorted({rank for given in units for rank in given})
    if len(levels) < 2:
        return None
    counts = np.array([[given.count(level) for level in levels] for given in units])
    return float(krippendorff.alpha(value_counts=counts, value_domain=levels, level_of_measurement="ordinal"))


def position_bias(judgments: Iterable[tuple[Ordering, Sequence[int]]]) -> Share:
    """How often the better one of two stood first on the page, given (ordering, order shown); without a bias half."""
    clusters = []
    for ordering, shown in judgments:
        place = {response_id: number for number, response_id in enumerate(shown)}
        pairs = ordering.pairs()
        clusters.append((sum(place[better] < place[worse] for better, worse in pairs), len(pairs)))
    return Share.of_clusters(clusters)


def against_gold(ordering: Ordering, gold: Ordering) -> tuple[int, int]:
    """(pairs ordered as known, pairs that the known ordering decides). A tie, or a response not ranked, is a miss."""
    ranks, known = ordering.ranks(), gold.pairs()
    hits = sum(better in ranks and worse in ranks and ranks[better] < ranks[worse] for better, worse in known)
    return hits, len(known)


def _agreeing(one: Ordering, other: Ordering, *, strict: bool) -> tuple[int, int]:
    """(pairs on which both agree, pairs that both ranked)."""
    first, second = one.ranks(), other.ranks()
    agreeing = total = 0
    for a, b in combinations(sorted(first.keys() & second.keys()), 2):
        signs = np.sign(first[a] - first[b]), np.sign(second[a] - second[b])
        if strict and 0 in signs:
            continue
        total += 1
        agreeing += bool(signs[0] == signs[1])
    return agreeing, total


def _sum(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    hits = total = 0
    for some, of in counts:
        hits, total = hits + some, total + of
    return hits, total
