import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.errors import InvalidOrdering, UnknownResponse
from annotate.labeling.ordering import Ordering


def test_ranks_are_dense_and_ties_share_one():
    assert Ordering(((7,), (3, 5), (1,))).ranks() == {7: 1, 3: 2, 5: 2, 1: 3}


def test_pairs_leave_out_ties_and_unranked_responses():
    ordering = Ordering.validated([[7], [3, 5], [1]], [1, 3, 5, 7, 9])
    assert ordering.pairs() == [(7, 3), (7, 5), (7, 1), (3, 1), (5, 1)]
    assert ordering.ties() == [(3, 5)]
    assert len(ordering) == 4


def test_only_the_order_of_given_ranks_matters():
    assert Ordering.from_ranks({1: 4, 2: 2, 3: None, 4: 4}) == Ordering(((2,), (1, 4)))


@pytest.mark.parametrize(
    "tiers", ["12", {"1": 2}, [1, 2], [[1], "2"], [["1"], ["2"]], [[True], [2]], [[1.0], [2]], None]
)
def test_another_shape_is_refused(tiers):
    with pytest.raises(InvalidOrdering):
        Ordering.validated(tiers, [1, 2])


def test_an_empty_tier_is_refused():
    with pytest.raises(InvalidOrdering, match="empty"):
        Ordering.validated([[1], []], [1, 2])


def test_a_response_given_twice_is_refused():
    with pytest.raises(InvalidOrdering, match="Response 2 stands in the ordering twice"):
        Ordering.validated([[2, 1], [2]], [1, 2])


def test_a_response_of_another_task_is_refused():
    with pytest.raises(UnknownResponse, match="Response 3"):
        Ordering.validated([[1], [3]], [1, 2])


@given(st.lists(st.integers(1, 4), min_size=2, max_size=9))
def test_every_two_responses_are_a_pair_or_a_tie(levels):
    ranks = dict(enumerate(levels))
    ordering = Ordering.from_ranks(ranks)
    assert all(ranks[better] < ranks[worse] for better, worse in ordering.pairs())
    assert all(ranks[one] == ranks[other] for one, other in ordering.ties())
    assert len(ordering.pairs()) + len(ordering.ties()) == len(levels) * (len(levels) - 1) // 2
    assert Ordering.from_ranks(ordering.ranks()).tiers == ordering.tiers
