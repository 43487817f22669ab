"""When a run should end, and what its reason says."""

import json

import pytest
import torch

from models_core.contract.settings import PPOConfig, parse
from models_core.rl.early_stopping import EarlyStopping

FINE = {"kl": 3.0, "entropy": 2.0, "length": 9.0}
SCORES = torch.tensor([0.5, 0.25])
FLAT = torch.tensor([0.5, 0.5])


def check(early_stopping, metrics=FINE, scores=SCORES, **values):
    return early_stopping.check_rollouts(metrics, scores, settings=parse(PPOConfig, values))


def restored(early_stopping):
    fresh = EarlyStopping()
    fresh.load_state_dict(json.loads(json.dumps(early_stopping.state_dict())))
    return fresh


def test_a_policy_within_bounds_goes_on():
    assert check(EarlyStopping()) is None


@pytest.mark.parametrize(
    ("metrics", "values", "setting", "reason"),
    [
        ({"kl": 12.06}, {"max_kl": 12}, "max_kl", "The KL to the reference, 12.1 nats per response"),
        ({"kl": float("nan")}, {}, "max_kl", "nan nats per response, is above max_kl."),
        ({"entropy": 0.0994}, {}, "min_entropy", "The entropy, 0.099 nats per token, is below min_entropy."),
        ({"length": 1.0}, {}, "min_length", "Responses have 1.0 tokens on average, fewer than min_length."),
    ],
)
def test_a_bound_that_is_passed_ends_the_run_with_the_reason(metrics, values, setting, reason):
    found = check(EarlyStopping(), FINE | metrics, **values)
    assert found.setting == setting
    assert reason in found.reason
    assert check(EarlyStopping(), FINE | metrics, max_kl=0, min_entropy=0, min_length=0) is None


def test_a_bound_itself_is_not_passed():
    metrics = {"kl": 12.0, "entropy": 0.5, "length": 2.0}
    assert check(EarlyStopping(), metrics, max_kl=12, min_entropy=0.5, min_length=2) is None


def test_scores_that_stay_alike_end_the_run_also_after_a_resume():
    early_stopping = EarlyStopping()
    assert [check(early_stopping, scores=scores) for scores in (FLAT, FLAT, SCORES, FLAT, FLAT)] == [None] * 5
    early_stopping = restored(early_stopping)
    found = check(early_stopping, scores=FLAT)
    assert (found.setting, found.reason) == (
        "zero_variance_patience",
        "All responses scored alike in 3 rollout iterations in a row: there is nothing to learn.",
    )  # fmt: skip
    assert check(early_stopping, scores=FLAT, zero_variance_patience=0) is None


def test_an_iteration_of_one_response_has_no_zero_variance():
    assert check(EarlyStopping(zero_variance=9), scores=FLAT[:1]) is None


def test_held_out_rewards_that_stay_below_the_best_end_the_run():
    settings = parse(PPOConfig, {"patience": 2})
    assert EarlyStopping().check_evaluations(1, settings=settings) is None
    assert EarlyStopping().check_evaluations(2, settings=settings).setting == "patience"
    assert EarlyStopping().check_evaluations(99, settings=parse(PPOConfig, {})) is None
