"""Win counts of a task by hand, the ceiling that noise leaves, and the bounded number of models counted by name."""

import math
import random

import pytest

from annotate.labeling.ordering import Ordering
from annotate.quality.intervals import Moments, Share
from annotate.quality.preference_analysis.counted_authors import MOST_MODELS, CountedAuthors
from annotate.quality.preference_analysis.noise_ceiling import NoiseCeiling
from annotate.quality.preference_analysis.win_counts import shares


def order(*tiers: tuple[int, ...]) -> Ordering:
    return Ordering(tiers)


def test_win_rates_count_a_tie_one_half_and_pairs_within_a_group_not_at_all() -> None:
    found = shares(
        [(order((1,), (2, 3)), (3, 1, 2))],
        lengths={1: 50, 2: 150, 3: 60},
        scores={},
        authors={1: "7", 2: "8", 3: "7"},
    )
    # 7 wins 1-2, ties 3-2; 1-3 is a pair of the same author.
    assert (found["by|7"], found["by|8"]) == ((3, 4), (1, 4))
    # Shown: 3 first, 1 second, 2 third. The second place wins twice, the others tie.
    assert (found["at|1"], found["at|2"], found["at|3"]) == ((1, 4), (4, 4), (1, 4))
    # Under 100 characters against 100 to 199: 1 wins, 3 ties.
    assert (found["size|0"], found["size|1"]) == ((3, 4), (1, 4))
    assert found["tied"] == (1, 3)


def test_longer_and_higher_scored_responses_are_counted_by_step_without_ties() -> None:
    judged = [(order((1,), (2,)), ()), (order((2,), (1,)), ()), (order((1, 2)), ())]
    found = shares(judged, lengths={1: 100, 2: 140}, scores={1: 0.75, 2: -0.5}, authors={})
    assert found == {"longer|2": (1, 2), "gap|4": (1, 2), "tied": (1, 3)}


def test_imports_that_nobody_saw_here_have_no_places_and_unknown_responses_no_group() -> None:
    found = shares([(order((1,), (2,)), ())], lengths={1: 10}, scores={2: 1.0}, authors={1: "people"})
    assert found == {"tied": (0, 1)}
    assert shares([(order(), (1, 2))], lengths={1: 9, 2: 8}, scores={}, authors={}) == {}


@pytest.mark.parametrize(
    ("agreeing", "least", "most"),
    [(100, 1.0, 1.0), (50, 0.5, 0.5), (40, 0.5, 0.5), (73, 0.73, (1 + math.sqrt(0.46)) / 2)],
)
def test_the_ceiling_lies_between_the_agreement_and_that_of_pairs_of_equal_noise(
    agreeing: int, least: float, most: float
) -> None:
    ceiling = NoiseCeiling.of(Share.of_moments(Moments.of_clusters([(1, 1)] * agreeing + [(0, 1)] * (100 - agreeing))))
    assert ceiling.least.value == pytest.approx(least)
    assert ceiling.most.value == pytest.approx(most)
    assert ceiling.differing.value == pytest.approx(1 - agreeing / 100)
    assert ceiling.least.low is not None
    assert ceiling.most.high is not None
    assert ceiling.least.low <= least <= most <= ceiling.most.high


def test_simulated_labelers_leave_a_best_accuracy_within_the_bounds() -> None:
    generator = random.Random(3)
    chances = [generator.betavariate(0.8, 0.8) for _ in range(4_000)]
    agreements = [(int((generator.random() < p) == (generator.random() < p)), 1) for p in chances for _ in range(5)]
    best = sum(max(p, 1 - p) for p in chances) / len(chances)
    ceiling = NoiseCeiling.of(Share.of_clusters(agreements))
    assert ceiling.least.value is not None
    assert ceiling.most.value is not None
    assert ceiling.least.value + 0.05 < best < ceiling.most.value - 0.005


def test_nothing_is_said_of_noise_where_no_two_judged_the_same_pair() -> None:
    ceiling = NoiseCeiling.of(Share.of_clusters([]))
    assert (ceiling.least.value, ceiling.most.value, ceiling.differing.value) == (None, None, None)


def test_models_that_come_late_are_counted_together_and_those_counted_stay() -> None:
    authors = CountedAuthors()
    names = [authors.group(number, "model") for number in range(1, MOST_MODELS + 3)]
    assert names[:2] == ["1", "2"]
    assert names[-2:] == ["others", "others"]
    again = CountedAuthors(authors.numbers)
    assert [again.group(number, "model") for number in (1, MOST_MODELS + 2)] == ["1", "others"]
    assert not again.grew
    assert [again.group(5, kind) for kind in ("person", "unknown")] == ["people", "unknown"]
