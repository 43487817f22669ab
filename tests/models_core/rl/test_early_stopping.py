"""When a run should end, and what its reason says."""

import json

import pytest
import torch

from models_core.contract.settings import PPOConfig, parse
from models_core.rl.early_stopping import Guards

FINE = {"kl": 3.0, "entropy": 2.0, "length": 9.0}
SCORES = torch.tensor([0.5, 0.25])
FLAT = torch.tensor([0.5, 0.5])


def trip(guards, metrics=FINE, scores=SCORES, **values):
    return guards.of_phase(metrics, scores, settings=parse(PPOConfig, values))


def test_a_policy_within_bounds_goes_on():
    assert trip(Guards()) is None


@pytest.mark.parametrize(
    ("metrics", "values", "setting", "reason"),
    [
        ({"kl": 12.06}, {"max_kl": 12}, "max_kl", "The divergence from the reference, 12.1 nats an answer"),
        ({"kl": float("nan")}, {}, "max_kl", "nan nats an answer, is above max_kl."),
        ({"entropy": 0.0994}, {}, "min_entropy", "The entropy, 0.099 nats a token, is below min_entropy."),
        ({"length": 1.0}, {}, "min_length", "Answers have 1.0 tokens on average, fewer than min_length."),
    ],
)
def test_a_bound_that_is_passed_ends_the_run_with_the_reason(metrics, values, setting, reason):
    found = trip(Guards(), FINE | metrics, **values)
    assert found.setting == setting
    assert reason in found.reason
    assert trip(Guards(), FINE | metrics, max_kl=0, min_entropy=0, min_length=0) is None


def test_a_bound_itself_is_not_passed():
    metrics = {"kl": 12.0, "entropy": 0.5, "length": 2.0}
    assert trip(Guards(), metrics, max_kl=12, min_entropy=0.5, min_length=2) is None


def test_scores_that_stay_alike_end_the_run_also_after_a_resume():
    guards = Guards()
    assert [trip(guards, scores=scores) for scores in (FLAT, FLAT, SCORES, FLAT, FLAT)] == [None] * 5
    guards = Guards.of(json.loads(json.dumps(guards.state())))
    found = trip(guards, scores=FLAT)
    assert (found.setting, found.reason) == (
        "zero_variance_patience", "All answers scored alike in 3 phases in a row: there is nothing to learn.",
    )  # fmt: skip
    assert trip(guards, scores=FLAT, zero_variance_patience=0) is None


def test_a_phase_of_one_answer_is_not_flat():
    assert trip(Guards(flat=9), scores=FLAT[:1]) is None


def test_held_out_rewards_that_stay_below_the_best_end_the_run():
    settings = parse(PPOConfig, {"patience": 2})
    assert Guards().of_measurements(1, settings=settings) is None
    assert Guards().of_measurements(2, settings=settings).setting == "patience"
    assert Guards().of_measurements(99, settings=parse(PPOConfig, {})) is None
