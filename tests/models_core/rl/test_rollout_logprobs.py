"""Reuse of the sampler's log-probabilities and values: only where they equal those of a forward pass."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.contract.runs.stopping import StopSignal
from models_core.generation import generate
from models_core.generation.generate import Sample
from models_core.rl import rollouts, trajectories
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.rollout_logprobs import TOLERANCES, DifferenceStats, LogprobComparison, RolloutLogprobCheck
from tests.models_core import ppo_fixtures
from tests.models_core.recipe_runs import metrics, run, weights
from tests.models_core.tiny import make_tiny_model

ENDS = tuple(range(20, 45))
"""Stop ids: so many that about half of a random model's responses end by themselves."""
RUN: dict[str, Any] = {
    "episodes": 32, "batch_size": 8, "samples_per_prompt": 2, "max_new_tokens": 6, "learning_rate": 0.003,
    "max_kl": 0, "held_out": 0,
}  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded over its weights directly, and through the model's own forward pass."""
    return make_tiny_model(tmp_path_factory.mktemp(request.param) / "model", kind=request.param)


def learned(base: Path, reward: Path, **values: Any) -> ActorCritic:
    """Models moved from their start, the value head too, whose responses may end by EOS."""
    dtype = torch.float64 if "gpt2" in str(base) else torch.float32
    chosen = ppo_fixtures.settings(**{"samples_per_prompt": 2, "temperature": 0.7, "batch_size": 6} | values)
    of = ppo_fixtures.actor_critic(base, reward, chosen, dtype=dtype)
    for model in filter(None, (of.policy, of.value)):
        model.to(dtype)
        ppo_fixtures.shake(model)
    return replace(of, rewards=replace(of.rewards, stop_ids=ENDS))


PLANS: dict[str, dict[str, Any]] = {
    "head": {"value_init": "head"},
    "full, head": {"method": "full", "value_init": "head"},
    "own value model": {"value_init": "reward"},
    "rloo": {"algorithm": "rloo"},
    "adapter": {"method": "adapter"},
    "virtual tokens": {"method": "prompt"},
    "prefix": {"method": "prefix"},
}


@pytest.mark.parametrize("plan", PLANS)
def test_reused_log_probabilities_are_those_of_a_forward_pass(plan: str, base: Path, reward: Path) -> None:
    """Of every token, EOS too, and of the first, whose state is the prompt's last; in batches of their own order."""
    of = learned(base, reward, **PLANS[plan])
    sampled = rollouts.sample_rollouts(of, ppo_fixtures.encoded_prompts(of), list(range(8)), seed=3, stop=StopSignal())
    ended = rollouts.ended_by_eos(sampled)
    assert 0 < ended.sum() < len(ended)
    scores = torch.arange(len(sampled)) / 7
    groups = [response.group for response in sampled]
    common: dict[str, Any] = {"actor_critic": of, "kl_coef": 0.1, "group_size": 2}
    recomputed = trajectories.compute_advantages(groups, scores, ended, **common)
    reused = trajectories.compute_advantages(groups, scores, ended, **common, reused=reused_logprobs(of, sampled))
    tolerance = 1e-9 if recomputed.log_probs.dtype == torch.float64 else 2e-5
    assert torch.equal(reused.mask, recomputed.mask)
    for name in ("log_probs", "values", "reference_log_probs", "advantages", "returns"):
        one, other = getattr(reused, name), getattr(recomputed, name)
        torch.testing.assert_close(one, other, rtol=0, atol=10 * tolerance if name == "advantages" else tolerance)
        assert one.dtype == other.dtype
    assert (recomputed.values.abs().max() > 0.01) == (of.value is not None)
    assert reused.metrics == pytest.approx(recomputed.metrics, abs=100 * tolerance)


def reused_logprobs(of: ActorCritic, sampled: Any) -> Any:
    check = RolloutLogprobCheck(of)
    check.load_state_dict({"enabled": True})
    return check.reused_logprobs(sampled)


# ---- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Responses of each forward pass of the policy without gradients."""
    found: list[int] = []
    plain = ActorCritic.log_probs_and_values

    def counting(self: ActorCritic, packed: Any) -> Any:
        if not torch.is_grad_enabled():
            found.append(len(packed.response_sizes))
        return plain(self, packed)

    monkeypatch.setattr(ActorCritic, "log_probs_and_values", counting)
    return found


@pytest.mark.parametrize("plan", ["head", "own value model", "rloo", "full, head"])
def test_a_run_that_reuses_log_probabilities_makes_the_same_policy(
    plan: str, given: dict[str, Any], tmp_path: Path, passes: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    values = RUN | PLANS[plan]
    recomputed = run("ppo", tmp_path / "recomputed", values | {"sampler_log_probs": "recompute"}, **given)
    assert sum(passes) == 32
    assert "sampler" not in capfd.readouterr().err
    passes.clear()
    reused = run("ppo", tmp_path / "reused", values, **given)
    assert sum(passes) == 8  # the first iteration alone
    assert "The sampler's log-probabilities are reused: they differ" in capfd.readouterr().err
    assert (recomputed["sampler_log_probs"], reused["sampler_log_probs"]) == ("recomputed", "reused")
    one, other = weights(tmp_path / "recomputed"), weights(tmp_path / "reused")
    for name in one:
        # Adam divides by gradients near zero, so what is rounded differently by 1e-7 comes to some 1e-6 of a weight.
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=5e-6, msg=lambda text, at=name: f"{at}: {text}")
    first, *later = metrics(tmp_path / "reused")
    assert 0 < first["sampler_error"] < 1e-4
    assert abs(first["sampler_bias"]) < first["sampler_error"]
    assert not any("sampler_error" in row for row in later)
    for row, expected in zip([first, *later], metrics(tmp_path / "recomputed"), strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-4, rel=1e-4)


Falsify = Callable[[Sample], Sample]


def falsify(monkeypatch: pytest.MonkeyPatch, change: Falsify, *, since: int = 1) -> None:
    """From iteration `since` on the sampler notes wrong numbers."""
    plain, iterations = generate.sample, []

    def sample(*given: Any, **more: Any) -> Any:
        iterations.append(more["seed"])
        found = plain(*given, **more)
        return [[change(response) for response in own] for own in found] if len(set(iterations)) >= since else found

    monkeypatch.setattr(generate, "sample", sample)


ERRORS: dict[str, Falsify] = {
    "a little": lambda response: replace(response, logprobs=tuple(each + 2e-5 for each in response.logprobs)),
    "of one": lambda response: replace(response, logprobs=(*response.logprobs[:-1], response.logprobs[-1] - 0.01)),
    "no number": lambda response: replace(response, logprobs=(float("nan"), *response.logprobs[1:])),
    "of values": lambda response: replace(response, values=tuple(each + 0.01 for each in response.values)),
    "next token's": lambda response: replace(response, logprobs=(*response.logprobs[1:], response.logprobs[0])),
}


@pytest.mark.parametrize("error", ERRORS)
def test_wrong_log_probabilities_are_noticed_before_the_first_update(
    error: str, given: dict[str, Any], tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    values = RUN | {"episodes": 16, "eval_every": 0}
    run("ppo", tmp_path / "recomputed", values | {"sampler_log_probs": "recompute"}, **given)
    passes.clear()
    falsify(monkeypatch, ERRORS[error])
    result = run("ppo", tmp_path / "wrong", values, **given)
    assert sum(passes) == 16
    assert result["sampler_log_probs"] == "recomputed"
    assert (
        "The sampler's log-probabilities are not reused, every iteration runs the policy again"
        in capfd.readouterr().err
    )
    one, other = weights(tmp_path / "recomputed"), weights(tmp_path / "wrong")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_log_probabilities_that_become_wrong_are_reused_once(
    given: dict[str, Any], tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    falsify(monkeypatch, ERRORS["of one"], since=4)  # the evaluation before the first step, and three iterations
    result = run("ppo", tmp_path / "run", RUN | {"episodes": 40}, **given)
    said = capfd.readouterr().err
    assert "log-probabilities are reused" in said
    assert "are no longer reused: they differ from the policy's by" in said
    assert result["sampler_log_probs"] == "recomputed"
    caught = [row["step"] for row in metrics(tmp_path / "run") if row.get("sampler_error", 0) > 0.005]
    assert caught == [3]
    assert sum(passes) == 8 + 16  # the first iteration, and all after the third


# ---- the test itself -------------------------------------------------------------------------------------------------


def difference(apart: torch.Tensor) -> DifferenceStats:
    found = DifferenceStats()
    for part in apart.split(100):
        found.add(part)
    return found


def compared(log_probs: torch.Tensor, values: torch.Tensor | None = None) -> bool:
    """Whether differences of these sizes are within the tolerance of bf16."""
    comparison, zeros = LogprobComparison(), torch.zeros(len(log_probs))
    comparison.add(log_probs=log_probs, rollout_log_probs=zeros, values=values, rollout_values=zeros)
    return comparison.is_within(TOLERANCES[torch.bfloat16])


def test_mean_and_error_are_those_of_all_parts() -> None:
    apart = torch.randn(1234, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.06 - 0.002
    found = difference(apart)
    assert found.mean == pytest.approx(apart.mean().item(), abs=1e-12)
    assert found.standard_error == pytest.approx(apart.std(correction=0).item() / 1234**0.5, abs=1e-12)
    assert found.largest == apart.abs().max().item()


@pytest.mark.parametrize(
    ("bias", "outlier", "is_right"),
    [(-0.002, 0.6, True), (-0.005, 0.0, True), (-0.02, 0.0, False), (0.02, 0.0, False), (-0.002, 3.0, False)],
)
def test_in_bf16_spread_is_borne_and_bias_is_not(bias: float, outlier: float, is_right: bool) -> None:
    apart = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.06
    apart += bias - apart.mean()
    apart[7] = outlier or apart[7]
    assert compared(apart) == is_right


@pytest.mark.parametrize(("shift", "is_right"), [(0.01, True), (-0.05, False)])
def test_values_may_be_shifted_by_more(shift: float, is_right: bool) -> None:
    assert compared(torch.zeros(500), torch.full((500,), shift)) == is_right


def test_a_large_value_may_differ_by_more() -> None:
    comparison = LogprobComparison()
    equal = torch.zeros(2)
    comparison.add(
        log_probs=equal,
        rollout_log_probs=equal,
        values=torch.tensor([50.0, 0.5]),
        rollout_values=torch.tensor([49.0, 0.25]),
    )
    assert comparison.values.largest == pytest.approx(0.25)
    assert comparison.metrics["sampler_value_error"] == pytest.approx(0.25)
