"""Verdicts on pairs, and scores, as tiers of responses: lists of places in the row, the best tier first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

FIRST, SECOND, TIE = "A", "B", "TIE"


@dataclass(frozen=True, kw_only=True)
class PairRanking:
    """tiers: of all responses. pairs: how many. consistent: of them those judged alike in both orders."""

    tiers: list[list[int]]
    pairs: int
    consistent: int


def orders(responses: int) -> list[tuple[int, int]]:
    """(shown as A, shown as B) of every question about so many responses: each pair in both orders."""
    return [shown for one, other in combinations(range(responses), 2) for shown in ((one, other), (other, one))]


def from_outcomes(responses: int, outcomes: Mapping[tuple[int, int], str]) -> PairRanking:
    """The ranking by Copeland's rule: a response has a point for each it beats and half a point for each tie.

    A pair has a winner where both orders name the same one, and is tied else.
    outcomes: {(shown as A, shown as B): FIRST, SECOND or TIE} of every question.
    """
    points = [0.0] * responses
    consistent = 0
    pairs = list(combinations(range(responses), 2))
    for one, other in pairs:
        there, back = outcomes[one, other], _swapped(outcomes[other, one])
        consistent += there == back
        winner = {FIRST: one, SECOND: other}.get(there) if there == back else None
        for response in (one, other):
            points[response] += 0.5 if winner is None else float(response == winner)
    return PairRanking(tiers=_tiers(points, margin=0.0), pairs=len(pairs), consistent=consistent)


def from_scores(scores: Sequence[float], *, tie_margin: float) -> list[list[int]]:
    """Tiers by score. A response joins the tier above it where its score is at most `tie_margin` below the tier's
    best."""
    return _tiers(scores, margin=tie_margin)


def _swapped(verdict: str) -> str:
    return {FIRST: SECOND, SECOND: FIRST}.get(verdict, verdict)


def _tiers(values: Sequence[float], *, margin: float) -> list[list[int]]:
    ordered = sorted(range(len(values)), key=lambda place: (-values[place], place))
    number, best, tier_of = 0, values[ordered[0]], {}
    for place in ordered:
        if best - values[place] > margin:
            number, best = number + 1, values[place]
        tier_of[place] = number
    return [sorted(places) for _, places in groupby(ordered, key=tier_of.__getitem__)]
