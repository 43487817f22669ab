"""Intervals: by hand, beside the bootstrap that they stand for, and beside numpy."""

import math
from collections import Counter

import numpy as np
import pytest

from annotate.quality.intervals import (
    Estimate,
    Moments,
    Share,
    binomial_tail,
    cluster_counters,
    jackknife,
    quantile,
    wilson,
)


def test_wilsons_interval_by_hand() -> None:
    # 8 of 10, z = 1.96: centre (0.8 + 0.19207) / 1.38415, half width 1.95996 / 1.38415 * sqrt(0.016 + 0.0096037).
    low, high = wilson(0.8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)


def test_the_standard_error_of_a_ratio_by_hand() -> None:
    # Clusters (1, 2), (3, 3), (0, 1): r = 4/6; residuals -1/3, 1, -2/3; sum of squares 14/9.
    moments = Moments.of_clusters([(1, 2), (3, 3), (0, 1)])
    assert (moments.clusters, moments.h, moments.n, moments.hh, moments.hn, moments.nn) == (3, 4, 6, 10, 11, 14)
    assert moments.standard_error == pytest.approx(math.sqrt(3 / 2 * 14 / 9) / 6)


def test_a_cluster_without_anything_to_count_is_none() -> None:
    assert Moments.of_clusters([(0, 0), (1, 2)]) == Moments.of_cluster(1, 2)


def test_moments_go_through_counters_and_back() -> None:
    clusters = [(1, 2), (3, 3), (0, 0)]
    counters: Counter[str] = Counter()
    for h, n in clusters:
        counters.update(cluster_counters("agreement", h, n))
    assert Moments.read(counters, "agreement") == Moments.of_clusters(clusters)
    assert Moments.read(counters, "gold") == Moments()
    assert Moments.read(counters, "agreement") - Moments.of_cluster(1, 2) == Moments.of_cluster(3, 3)


@pytest.mark.parametrize("tasks", [40, 400])
def test_the_interval_is_that_of_the_bootstrap_over_tasks(tasks: int) -> None:
    generator = np.random.default_rng(tasks)
    sizes = generator.integers(1, 7, size=tasks)
    clusters = np.stack([generator.binomial(sizes, generator.beta(3, 1.2, size=tasks)), sizes], axis=1)
    share = Share.of_clusters([(int(h), int(n)) for h, n in clusters])
    drawn = generator.integers(tasks, size=(4_000, tasks))
    sums = np.stack([clusters[rows].sum(axis=0) for rows in drawn])
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    assert share.low == pytest.approx(low, abs=0.15 * (high - low))
    assert share.high == pytest.approx(high, abs=0.15 * (high - low))


def test_the_interval_counts_tasks_and_not_pairs() -> None:
    sure = Share.of_clusters([(1, 1), (0, 1)] * 300)
    clustered = Share.of_clusters([(20, 20), (0, 20)] * 15)
    assert sure.total == clustered.total == 600
    assert sure.high - sure.low == pytest.approx(2 * 1.96 * (0.25 / 600) ** 0.5, rel=0.01)
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * (0.25 / 30) ** 0.5, rel=0.03)


def test_full_agreement_of_few_is_not_certainty() -> None:
    share = Share.of_clusters([(6, 6)] * 20)
    assert share.rate == share.high == 1
    assert 0.8 < share.low < 0.9


def test_nothing_to_count_is_no_number() -> None:
    share = Share.of_clusters([])
    assert (share.rate, share.low, share.high, share.total) == (None, None, None, 0)
    assert Share.of_trials(0, 0).rate is None
    assert Estimate.of_mean(Moments(), unit=1, lowest=-1, highest=1).value is None
    assert Estimate.of_difference(Moments(), Moments.of_cluster(1, 2)).value is None


def test_a_mean_has_no_interval_with_few_clusters_and_stays_within_its_bounds() -> None:
    few = Estimate.of_mean(Moments.of_clusters([(1, 1)] * 9), unit=1.0, lowest=-1, highest=1)
    assert (few.value, few.low, few.high) == (1.0, None, None)
    many = Estimate.of_mean(Moments.of_clusters([(9_900, 1), (10_000, 1)] * 10), unit=1e-4, lowest=-1.0, highest=1.0)
    assert many.value == pytest.approx(0.995)
    assert many.low == pytest.approx(0.995 - 1.96 * 0.005 / math.sqrt(19), abs=1e-5)
    assert many.high < 1
    bounded = Estimate.of_mean(
        Moments.of_clusters([(9_000, 1), *[(10_000, 1)] * 19]), unit=1e-4, lowest=-1.0, highest=1.0
    )
    assert (bounded.value, bounded.high) == (pytest.approx(0.995), 1.0)


def test_a_difference_has_the_root_of_both_variances() -> None:
    one, other = Moments.of_clusters([(1, 1), (0, 1)] * 50), Moments.of_clusters([(1, 1), (1, 1), (0, 1), (1, 1)] * 25)
    difference = Estimate.of_difference(one, other)
    assert difference.value == pytest.approx(-0.25)
    half = 1.96 * math.sqrt((0.25 + 0.1875) / 99)
    assert (difference.low, difference.high) == (
        pytest.approx(-0.25 - half, rel=1e-3),
        pytest.approx(half - 0.25, rel=1e-2),
    )
    assert difference.excludes_zero
    assert not Estimate.of_difference(one, one).excludes_zero


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    # Of a mean of equal groups: sqrt((G - 1) / G * sum (mean_without_g - mean)^2) = s / sqrt(G).
    values = [3, 5, 8, 4, 9, 2, 6, 7, 1, 5]
    groups = [{"h": value, "n": 1} for value in values]
    found = jackknife(groups, lambda sums: sums["h"] / sums["n"] if sums["n"] else None, highest=10.0)
    assert found.value == 5
    error = np.std(values, ddof=1) / math.sqrt(10)
    assert found.low == pytest.approx(5 - 2.262 * error)
    assert found.high == pytest.approx(5 + 2.262 * error)
    assert jackknife(groups[:1], lambda sums: 1.0, highest=1.0) == Estimate(1.0)


def test_quantiles_are_numpys() -> None:
    values = [1.0, 1.0, 2.0, 3.5, 3.5, 3.5, 8.0, 40.0]
    histogram = {value: values.count(value) for value in values}
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        assert quantile(histogram, share) == pytest.approx(np.quantile(values, share))
    assert quantile({}, 0.5) is None


def test_the_tail_of_a_binomial() -> None:
    # At least 60 of 100 by chance 1/2: 0.0284 exactly.
    assert binomial_tail(60, 100, 0.5) == pytest.approx(0.0284, abs=5e-4)
    assert binomial_tail(0, 0, 0.5) == 1
