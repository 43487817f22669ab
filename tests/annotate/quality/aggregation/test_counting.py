"""Majority and Borda against orders worked out by hand."""

import pytest

from annotate.labeling.ordering import Ordering
from annotate.quality.aggregation import borda, majority
from annotate.quality.aggregation.votes import PairVotes, pair_votes

A, B, C = 1, 2, 3


def orderings(*tiers: list[list[int]]) -> dict[int, Ordering]:
    return {labeler: Ordering.stored(given) for labeler, given in enumerate(tiers, start=10)}


TWO_OF_THREE = orderings([[A], [B], [C]], [[A], [C], [B]], [[B], [A], [C]])


def test_votes_on_pairs_are_counted_with_ties_and_without_unranked_responses() -> None:
    votes = pair_votes(orderings([[B, A], [C]], [[C], [A]]).values())
    assert votes == {(A, B): PairVotes(tied=1), (A, C): PairVotes(first=1, second=1), (B, C): PairVotes(first=1)}


def test_the_majority_of_each_pair_orders_the_responses() -> None:
    found = majority.consensus(TWO_OF_THREE)
    assert found.tiers == ((A,), (B,), (C,))
    # A > B: 2 of 3, A > C: 3 of 3, B > C: 2 of 3; the next vote agrees with (n + 1) / (N + 3).
    assert found.confidence == pytest.approx((3 / 6 + 4 / 6 + 3 / 6) / 3)


def test_a_circle_of_majorities_is_one_tier() -> None:
    found = majority.consensus(orderings([[A], [B], [C]], [[B], [C], [A]], [[C], [A], [B]]))
    assert found.tiers == ((A, B, C),)
    assert found.confidence == pytest.approx(1 / 6)  # nobody tied any


@pytest.mark.parametrize(
    ("given", "tiers"),
    [
        (([[A], [B]], [[B], [A]]), ((A, B),)),
        (([[A, B]], [[A, B]], [[B], [A]]), ((A, B),)),
        (([[A, B]], [[B], [A]], [[B], [A]]), ((B,), (A,))),
        (([[B], [A]],), ((B,), (A,))),
        (([], [[A]]), ()),
    ],
)
def test_the_majority_of_a_pair(given: tuple[list[list[int]], ...], tiers: tuple[tuple[int, ...], ...]) -> None:
    assert majority.consensus(orderings(*given)).tiers == tiers


def test_borda_takes_the_mean_of_the_points() -> None:
    # A: 1, 1, 1/2; B: 1/2, 0, 1; C: 0, 1/2, 0.
    assert borda.consensus(TWO_OF_THREE).tiers == ((A,), (B,), (C,))


def test_borda_gives_ties_half_a_point_and_counts_a_ranking_of_few_as_much() -> None:
    # A: 3/4 (tied with B above C) and 0; B: 3/4; C: 0 and 1.
    found = borda.consensus(orderings([[A, B], [C]], [[C], [A]]))
    assert found.tiers == ((B,), (C,), (A,))
    # The votes: A = B once; A > C once and C > A once; B > C once. The consensus has B > A, C > A, B > C.
    assert found.confidence == pytest.approx((1 / 4 + 2 / 5 + 2 / 4) / 3)


def test_borda_and_majority_differ_where_one_labeler_puts_the_favourite_last() -> None:
    given = orderings([[A], [B], [C]], [[A], [B], [C]], [[B], [C], [A]])
    assert majority.consensus(given).tiers == ((A,), (B,), (C,))
    assert borda.consensus(given).tiers == ((A, B), (C,))  # points 1 + 1 + 0 and 1/2 + 1/2 + 1
