"""Dawid-Skene against crowd-kit's figures and small cases."""

import numpy as np
import pytest

from annotate.quality.aggregation import dawid_skene

LINES = [
    "aab.", "abb-", "bbb.", "bcbb", "ccca", "cc-c", "acac", "baab", "bba.", "ccbc", "aaca", "abab", "cacc", "bbcb",
]  # fmt: skip
ITEMS = [{number: vote for number, vote in enumerate(line) if vote in "abc"} for line in LINES]


def test_maximum_likelihood_is_that_of_crowd_kit() -> None:
    """The values are of crowd-kit 1.4.2: DawidSkene(n_iter=20000, tol=0).fit of the same votes."""
    found = dawid_skene.estimate(ITEMS, smoothing=0)
    assert found.categories == ("a", "b", "c")
    assert found.priors == pytest.approx([0.125987, 0.510926, 0.363087], abs=1e-5)
    assert found.posterior(ITEMS[0]) == pytest.approx([0.787113, 0.152969, 0.059919], abs=1e-5)
    assert found.posterior(ITEMS[10]) == pytest.approx([0.976699, 0, 0.023301], abs=1e-5)
    assert found.confusion[2] == pytest.approx(
        np.array([[0.0, 0.44626, 0.55374], [0.41941, 0.44079, 0.13980], [0.24490, 0.25958, 0.49552]]), abs=1e-4
    )


def test_a_labeler_against_the_others_is_outvoted_and_learned() -> None:
    items = [{1: True, 2: True, 3: False}, {1: False, 2: False, 3: True}] * 20
    found = dawid_skene.estimate(items, categories=(False, True))
    label, probability = found.label({1: True, 2: True, 3: False})
    assert (label, probability > 0.99) == (True, True)
    # Whoever always says the reverse is as good a witness as one who is always right.
    assert found.label({3: False})[0] is True
    # 20 votes and the prior's one: 0.75 of it on the diagonal.
    expected = np.array([[0.75, 20.25], [20.25, 0.75]]) / 21
    assert found.confusion[3] == pytest.approx(expected, abs=1e-4)


def test_smoothing_keeps_the_vote_of_an_unknown_labeler_short_of_certain() -> None:
    found = dawid_skene.estimate([{1: "yes"}, {1: "no"}])
    for labeler in (1, 2):
        label, probability = found.label({labeler: "yes"})
        assert (label, 0.5 < probability < 1) == ("yes", True)


def test_one_category_is_certain_and_none_is_refused() -> None:
    assert dawid_skene.estimate([{1: "yes"}, {2: "yes"}]).label({1: "yes"}) == ("yes", 1.0)
    with pytest.raises(ValueError, match="no category"):
        dawid_skene.estimate([])
