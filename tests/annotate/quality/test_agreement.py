import pytest

from annotate.labeling.ordering import Ordering
from annotate.quality.agreement import Share, agreement, agreement_with_others, ordinal_alpha, position_bias, wilson

ABC = Ordering(((1,), (2,), (3,)))
ACB = Ordering(((1,), (3,), (2,)))
TIED = Ordering(((1,), (2, 3)))
CBA = Ordering(((3,), (2,), (1,)))


def test_two_labelers_agree_on_pairs():
    share = agreement([{7: ABC, 8: ACB}])
    assert (share.hits, share.total, share.rate) == (2, 3, pytest.approx(2 / 3))


def test_a_tie_agrees_with_a_tie_alone():
    assert agreement([{7: TIED, 8: TIED}]).rate == 1
    assert (agreement([{7: TIED, 8: ABC}]).hits, agreement([{7: TIED, 8: ABC}]).total) == (2, 3)
    strict = agreement([{7: TIED, 8: ABC}], strict=True)
    assert (strict.hits, strict.total) == (2, 2)


def test_only_what_both_ranked_is_compared():
    share = agreement([{7: ABC, 8: Ordering(((2,), (1,)))}])
    assert (share.hits, share.total) == (0, 1)


def test_three_labelers_are_three_comparisons():
    share = agreement([{7: ABC, 8: ABC, 9: CBA}])
    assert (share.hits, share.total) == (3, 9)
    with_others = agreement_with_others([{7: ABC, 8: ABC, 9: CBA}])
    assert {labeler: (share.hits, share.total) for labeler, share in with_others.items()} == {
        7: (3, 6),
        8: (3, 6),
        9: (0, 6),
    }


def test_nothing_to_compare_is_no_number():
    for share in (agreement([]), agreement([{7: ABC}]), position_bias([])):
        assert (share.rate, share.low, share.high, share.total) == (None, None, None, 0)
    assert ordinal_alpha([]) is None
    assert ordinal_alpha([{7: Ordering(((1, 2),)), 8: Ordering(((1, 2),))}]) is None


def test_wilsons_interval_by_hand():
    # 8 of 10, z = 1.96: centre (0.8 + 0.19207) / 1.38415, half width 1.95996 / 1.38415 * sqrt(0.016 + 0.0096037).
    low, high = wilson(0.8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)


def test_the_interval_counts_tasks_and_not_pairs():
    sure = Share.of_clusters([(1, 1), (0, 1)] * 300)
    clustered = Share.of_clusters([(20, 20), (0, 20)] * 15)
    assert sure.total == clustered.total == 600
    assert sure.high - sure.low == pytest.approx(2 * 1.96 * (0.25 / 600) ** 0.5, rel=0.1)
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * (0.25 / 30) ** 0.5, rel=0.15)


def test_full_agreement_of_few_is_not_certainty():
    share = Share.of_clusters([(6, 6)] * 20)
    assert share.rate == share.high == 1
    assert 0.8 < share.low < 0.9


def test_alpha_is_one_for_equal_ranks_and_negative_for_opposite_ones():
    assert ordinal_alpha([{7: ABC, 8: ABC}, {7: CBA, 8: CBA}]) == pytest.approx(1.0)
    assert ordinal_alpha([{7: ABC, 8: CBA}]) < 0


def test_alpha_equals_the_definition():
    """Ordinal distances between ranks, computed by Krippendorff's formula without the library."""
    tasks = [{7: ABC, 8: ACB}, {7: ABC, 8: TIED}, {7: ACB, 8: ABC}]
    units = [[orderings[labeler].ranks()[pk] for labeler in (7, 8)] for orderings in tasks for pk in (1, 2, 3)]
    values = [value for unit in units for value in unit]
    counts = {level: values.count(level) for level in (1, 2, 3)}

    def distance(a, b):
        low, high = sorted((a, b))
        return (sum(counts[level] for level in range(low, high + 1)) - (counts[a] + counts[b]) / 2) ** 2

    observed = sum(2 * distance(a, b) for a, b in units) / len(values)
    expected = sum(distance(a, b) for a in values for b in values) / (len(values) * (len(values) - 1))
    assert ordinal_alpha(tasks) == pytest.approx(1 - observed / expected)


def test_position_bias_counts_winners_that_stood_first():
    share = position_bias([(ABC, [1, 2, 3]), (ABC, [3, 2, 1]), (TIED, [2, 1, 3])])
    assert (share.hits, share.total) == (3 + 0 + 1, 3 + 3 + 2)
