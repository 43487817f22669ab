"""What the labelers of a task say of each pair of its responses. Pure; no database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from annotate.labeling.ordering import Ordering

Judgments = Mapping[int, Ordering]
"""Who gave which ordering of one task: {labeler id: ordering}."""
Tiers = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Consensus:
    """The order that several labelers' orderings come to.

    confidence: probability that one more labeler says the same of two of the responses, the mean over all pairs.
    """

    tiers: Tiers
    confidence: float


class PairVotes(NamedTuple):
    """How many labelers prefer the first of two responses, the second, and neither."""

    first: int = 0
    second: int = 0
    tied: int = 0

    @property
    def majority(self) -> int:
        """1 where most prefer the first response, -1 the second; 0 where most tie them or no outcome has most votes."""
        if self.first > max(self.second, self.tied):
            return 1
        return -1 if self.second > max(self.first, self.tied) else 0

    def expected_share(self, outcome: int) -> float:
        """Probability that the next vote is `outcome`: the mean of a Dirichlet(1, 1, 1) posterior, (n + 1) / (N + 3).

        Laplace's rule of succession for three outcomes.
        """
        votes = {1: self.first, -1: self.second, 0: self.tied}[outcome]
        return (votes + 1) / (self.first + self.second + self.tied + 3)


def pair_votes(judgments: Iterable[Ordering]) -> dict[tuple[int, int], PairVotes]:
    """Votes on every two responses that somebody ranked both of; the smaller id is the first."""
    votes: dict[tuple[int, int], PairVotes] = {}
    for ordering in judgments:
        ranks = ordering.ranks()
        for first, second in combinations(sorted(ranks), 2):
            so_far = votes.get((first, second), PairVotes())
            if ranks[first] == ranks[second]:
                votes[first, second] = so_far._replace(tied=so_far.tied + 1)
            elif ranks[first] < ranks[second]:
                votes[first, second] = so_far._replace(first=so_far.first + 1)
            else:
                votes[first, second] = so_far._replace(second=so_far.second + 1)
    return votes


def counted_consensus(tiers: Tiers, votes: Mapping[tuple[int, int], PairVotes]) -> Consensus:
    """The consensus of a method that counts votes: its confidence is the mean expected share over the pairs."""
    rank = Ordering(tiers).ranks()
    shares = [
        pair.expected_share((rank[second] > rank[first]) - (rank[second] < rank[first]))
        for (first, second), pair in votes.items()
    ]
    return Consensus(tiers, fmean(shares)) if shares else Consensus((), 0.0)


def tiers_by_score(scores: Mapping[int, float]) -> Tiers:
    """Tiers of equal scores, the highest first; equal to nine digits, so that rounding parts no tie."""
    levels: dict[float, list[int]] = {}
    for response_id in sorted(scores):
        levels.setdefault(round(scores[response_id], 9), []).append(response_id)
    return tuple(tuple(levels[level]) for level in sorted(levels, reverse=True))
