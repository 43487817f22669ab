"""Agreement of orderings: by hand, and beside scipy, published examples and definitions computed another way."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from annotate.labeling.ordering import Ordering
from annotate.quality import agreement
from annotate.quality.aggregation.votes import pair_votes

ABC = Ordering(((1,), (2,), (3,)))
ACB = Ordering(((1,), (3,), (2,)))
TIED = Ordering(((1,), (2, 3)))
CBA = Ordering(((3,), (2,), (1,)))


def agreeing(one: Ordering, other: Ordering, *, strict: bool = False) -> tuple[int, int]:
    return agreement.agreeing(one.ranks(), other.ranks(), strict=strict)


def alpha(*tasks: list[Ordering]) -> float | None:
    counts: Counter[tuple[int, float, float]] = Counter()
    for orderings in tasks:
        counts += agreement.coincidence_counts(agreement.rank_units([ordering.ranks() for ordering in orderings]))
    return agreement.ordinal_alpha(agreement.coincidences(counts))


def test_two_labelers_agree_on_pairs() -> None:
    assert agreeing(ABC, ACB) == (2, 3)
    assert agreeing(ABC, CBA) == (0, 3)


def test_a_tie_agrees_with_a_tie_alone() -> None:
    assert agreeing(TIED, TIED) == (3, 3)
    assert agreeing(TIED, ABC) == (2, 3)
    assert agreeing(TIED, ABC, strict=True) == (2, 2)


def test_only_what_both_ranked_is_compared() -> None:
    assert agreeing(ABC, Ordering(((2,), (1,)))) == (0, 1)
    assert agreeing(ABC, Ordering(())) == (0, 0)


def test_tau_b_is_scipys() -> None:
    generator = np.random.default_rng(0)
    compared = 0
    for _ in range(200):
        one, other = (dict(enumerate(generator.integers(1, 5, size=6).tolist())) for _ in range(2))
        found = agreement.kendall_tau_b(one, other)
        expected = stats.kendalltau(list(one.values()), list(other.values())).statistic
        if found is None:
            assert np.isnan(expected)
        else:
            assert found == pytest.approx(expected)
            compared += 1
    assert compared > 150


def test_tau_b_by_hand() -> None:
    # A > B > C beside A > B = C: 2 concordant of 3 pairs, one tied by the other: 2 / sqrt(3 * 2).
    assert agreement.kendall_tau_b(ABC.ranks(), TIED.ranks()) == pytest.approx(2 / 6**0.5)
    assert agreement.kendall_tau_b(ABC.ranks(), CBA.ranks()) == -1
    assert agreement.kendall_tau_b(ABC.ranks(), {1: 1, 2: 1, 3: 1}) is None


def test_the_majority_of_the_others_leaves_ones_own_vote_out() -> None:
    orderings = [ABC, ABC, CBA, ACB]
    votes = pair_votes(orderings)
    # The others of the third: A > B and A > C three times, B > C twice of three: they say the reverse on all.
    assert agreement.agreement_with_majority(CBA.ranks(), votes) == (0, 3)
    # The others of the fourth: A > B and A > C twice of three, B > C twice of three.
    assert agreement.agreement_with_majority(ACB.ranks(), votes) == (2, 3)
    # The others of the first: B > C once, C > B twice.
    assert agreement.agreement_with_majority(ABC.ranks(), votes) == (2, 3)


def test_no_majority_where_one_other_or_a_split_decides() -> None:
    assert agreement.agreement_with_majority(ABC.ranks(), pair_votes([ABC, ABC])) == (0, 0)
    assert agreement.agreement_with_majority(ABC.ranks(), pair_votes([ABC, ABC, CBA])) == (0, 0)
    # Two of two others tie B and C; on the other pairs they agree with this one.
    assert agreement.agreement_with_majority(ABC.ranks(), pair_votes([ABC, TIED, TIED])) == (2, 3)


def test_alpha_is_one_for_equal_ranks_and_negative_for_opposite_ones() -> None:
    assert alpha([ABC, ABC], [CBA, CBA]) == pytest.approx(1.0)
    assert alpha([ABC, CBA]) < 0  # type: ignore[operator]
    assert alpha() is None
    assert alpha([Ordering(((1, 2),)), Ordering(((1, 2),))]) is None


def alpha_of_units(units: Sequence[Sequence[float]]) -> float | None:
    return agreement.ordinal_alpha(agreement.coincidences(agreement.coincidence_counts(units)))


def test_alpha_of_the_published_example() -> None:
    """Four observers and twelve units: ordinal 0.815 (Krippendorff 2011, Computing Krippendorff's alpha, part D)."""
    observers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [[float(value) for value in given if value != "."] for given in zip(*observers, strict=True)]
    assert alpha_of_units(units) == pytest.approx(0.815, abs=5e-4)


def test_alpha_of_two_levels_by_hand() -> None:
    # o_12 = 1, n_1 = n_2 = 3, n = 6; of two levels every distance is the same: 1 - (n - 1) o_12 / (n_1 n_2).
    assert alpha_of_units([[1, 1], [1, 2], [2, 2]]) == pytest.approx(1 - 5 * 1 / (3 * 3))


def by_definition(units: Sequence[Sequence[float]]) -> float:
    """1 - the mean distance of two values of a unit / of any two values, from all ordered pairs one by one."""
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    counts = Counter(values)

    def distance(a: float, b: float) -> float:
        low, high = sorted((a, b))
        return (sum(counts[level] for level in counts if low <= level <= high) - (counts[a] + counts[b]) / 2) ** 2

    observed = sum(sum(distance(*pair) for pair in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(distance(*pair) for pair in permutations(values, 2)) / (len(values) - 1)
    return 1 - observed / expected


def test_alpha_equals_the_definition() -> None:
    tasks = [[ABC, ACB], [ABC, TIED], [ACB, ABC]]
    units = [[ordering.ranks()[pk] for ordering in orderings] for orderings in tasks for pk in (1, 2, 3)]
    assert alpha(*tasks) == pytest.approx(by_definition(units))
    generator = np.random.default_rng(1)
    for levels in (2, 3, 7):
        drawn = [generator.integers(1, levels + 1, size=generator.integers(1, 5)).tolist() for _ in range(60)]
        assert alpha_of_units(drawn) == pytest.approx(by_definition(drawn))


def test_coincidences_of_a_unit_by_hand() -> None:
    # 1, 1, 2: one pair of equal values, counted both ways, and two of unequal ones; each divided by 2.
    counts = agreement.coincidence_counts([[1, 1, 2], [3]])
    assert counts == {(3, 1, 1): 2, (3, 1, 2): 2}
    assert agreement.coincidences(counts) == {(1, 1): 1.0, (1, 2): 1.0}


def test_first_shown_wins_counts_winners_that_stood_first() -> None:
    assert agreement.first_shown_wins(ABC, [1, 2, 3]) == (3, 3)
    assert agreement.first_shown_wins(ABC, [3, 2, 1]) == (0, 3)
    assert agreement.first_shown_wins(TIED, [2, 1, 3]) == (1, 2)


def test_larger_wins_leaves_equal_numbers_out() -> None:
    assert agreement.larger_wins(ABC, {1: 10, 2: 5, 3: 5}) == (2, 2)
    assert agreement.larger_wins(CBA, {1: 10, 2: 5}) == (0, 1)
