"""The updates of an iteration against a slow second implementation: every token by itself, plain transformers, fp64."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.modeling import loading
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.packing import Group
from models_core.recipes import ppo
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.ptx import PtxText
from models_core.rl.rollouts import ended_by_eos
from models_core.rl.trajectories import PromptGroup, compute_advantages
from models_core.rl.update import ppo_update
from models_core.training.loop import Training
from tests.models_core import ppo_fixtures, recipe_runs
from tests.models_core.ppo_fixtures import Listener
from tests.models_core.tiny import make_tiny_model

CLIP, VALUE_CLIP, VF, KL = 0.2, 0.2, 0.1, 0.3
WHOLE = {"minibatches": 1, "max_tokens_per_forward": 4096, "max_new_tokens": 9, "temperature": 0.7, "kl_coef": KL}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its normalisation is no Llama's, which transformers computes in fp32."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", kind="gpt2")


def wide(base: Path, reward: Path, **values: Any) -> ActorCritic:
    """Networks in fp64, the value head too."""
    actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(**WHOLE | values), dtype=torch.float64)
    for model in filter(None, (actor_critic.policy, actor_critic.value)):
        model.double()
    return actor_critic


def updates(
    actor_critic: ActorCritic, trajectories: Any, *, text: PtxText | None = None
) -> tuple[dict[str, float], Listener]:
    """The update from trajectories by weights that have moved since they were sampled."""
    for model in {id(model): model for model, _ in actor_critic.trained_weights.values()}.values():
        ppo_fixtures.shake(model, size=0.07)
    listener: Any = Listener(actor_critic)
    found = ppo_update(
        trajectories, training=listener, actor_critic=actor_critic, text=text, step=1, steps=4, kl_coef=KL
    )
    return found, listener


def slow_gradients(actor_critic: ActorCritic, trajectories: Any, *, algorithm: str) -> dict[str, dict[str, Tensor]]:
    """Every token's loss written out, and autograd for the rest."""
    policy, value = actor_critic.policy, actor_critic.value
    losses: dict[str, Tensor] = {
        "policy": torch.zeros((), dtype=torch.float64),
        "value": torch.zeros((), dtype=torch.float64),
    }
    tokens = int(trajectories.mask.sum())
    for row, prompt_group in enumerate(one_each(trajectories)):
        length = int(trajectories.mask[row].sum())
        log_probs = ppo_fixtures.plain_log_probs(policy, prompt_group, temperature=0.7)
        for t in range(length):
            ratio = (log_probs[t] - trajectories.log_probs[row, t]).exp()
            gained = trajectories.advantages[row, t]
            loss = torch.max(-gained * ratio, -gained * ratio.clamp(1 - CLIP, 1 + CLIP))
            if algorithm == "grpo":
                left = trajectories.reference_log_probs[row, t] - log_probs[t]
                loss = loss + KL * (left.exp() - left - 1)
            if trajectories.importance_weights is not None:
                loss = loss * trajectories.importance_weights[row, t]
            if algorithm == "grpo":
                losses["policy"] = losses["policy"] + loss / length / len(trajectories.mask)
            else:
                losses["policy"] = losses["policy"] + loss / tokens
        if value is not None:
            values = value.score(ppo_fixtures.plain_states(trunk(value), prompt_group)).squeeze(-1)
            old, returns = trajectories.values[row, :length], trajectories.returns[row, :length]
            held = old + (values - old).clamp(-VALUE_CLIP, VALUE_CLIP)
            losses["value"] = (
                losses["value"] + VF * 0.5 * torch.max((values - returns) ** 2, (held - returns) ** 2).sum() / tokens
            )
    total = losses["policy"] + losses["value"]
    found = {}
    for name, (_, weights) in actor_critic.trained_weights.items():
        grads = torch.autograd.grad(total, list(weights.values()), retain_graph=True, allow_unused=True)
        found[name] = {key: grad for key, grad in zip(weights, grads, strict=True) if grad is not None}
    return found


def one_each(trajectories: Any) -> list[Group]:
    return [
        Group(prompt_group.group.prompt, [response])
        for prompt_group in trajectories.prompt_groups
        for response in prompt_group.group.responses
    ]


def same(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float = 1e-10) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=tolerance, msg=name)


PLANS: dict[str, dict[str, Any]] = {
    "one trunk": {"value_init": "head"},
    "two": {"value_init": "reward"},
    "full": {"method": "full"},
    "rloo": {"algorithm": "rloo"},
    "grpo": {"algorithm": "grpo"},
    "one trunk, two responses": {"value_init": "head", "samples_per_prompt": 2},
}


@pytest.mark.parametrize("budget", [4096, 40])
@pytest.mark.parametrize("plan", PLANS)
def test_gradients_are_those_of_every_token_by_itself(plan: str, budget: int, base: Path, reward: Path) -> None:
    """In one micro-batch and in many: the padding, the packing and the cut are nowhere in the result."""
    actor_critic = wide(base, reward, max_tokens_per_forward=budget, **PLANS[plan])
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic, count=4)
    assert len(set(trajectories.mask.sum(1).tolist())) > 1  # lengths differ
    found, listener = updates(actor_critic, trajectories)
    expected = slow_gradients(actor_critic, trajectories, algorithm=actor_critic.settings.algorithm)
    assert [name for name, _ in listener.seen] == list(expected)
    for name, gradients in listener.seen:
        same(gradients, expected[name])
    assert found["clip_fraction"] > 0
    assert found["first_ratio_error"] > 0.1


@pytest.mark.parametrize("plan", ["one trunk", "grpo"])
def test_rollouts_of_other_weights_are_weighted_token_by_token(plan: str, base: Path, reward: Path) -> None:
    """The ratio is to the policy before the updates, the weight is that policy's ratio to the one that sampled."""
    cap = 1.1
    actor_critic = wide(base, reward, importance_weight_cap=cap, **PLANS[plan])
    completions, scores, sampled = ppo_fixtures.sample_trajectories(actor_critic, count=4)
    ppo_fixtures.shake(actor_critic.policy, size=0.05, seed=2)
    trajectories = compute_advantages(
        [item.group for item in completions],
        scores,
        ended_by_eos(completions),
        actor_critic=actor_critic,
        kl_coef=KL,
        group_size=actor_critic.settings.group_size,
        behaviour=sampled.log_probs,
    )
    ratios = []
    for row, item in enumerate(completions):
        plain = ppo_fixtures.plain_log_probs(actor_critic.policy, item.group, temperature=0.7).detach()
        for t in range(len(item.ids)):
            assert trajectories.log_probs[row, t].item() == pytest.approx(plain[t].item(), abs=1e-10)
            ratios.append(math.exp(plain[t].item() - sampled.log_probs[row, t].item()))
            weight = trajectories.importance_weights[row, t].item()
            assert weight == pytest.approx(min(ratios[-1], cap), abs=1e-10)
        assert not trajectories.importance_weights[row, len(item.ids) :].any()
    cut = sum(ratio > cap for ratio in ratios)
    assert 0 < cut < len(ratios)
    assert trajectories.metrics["importance_weight"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-10)
    assert trajectories.metrics["truncated_weights"] == pytest.approx(cut / len(ratios), abs=1e-10)
    _, listener = updates(actor_critic, trajectories)
    expected = slow_gradients(actor_critic, trajectories, algorithm=actor_critic.settings.algorithm)
    for name, gradients in listener.seen:
        same(gradients, expected[name])


@pytest.mark.parametrize("plan", PLANS)
def test_the_first_ratio_is_one_to_the_last_digits(plan: str, base: Path, reward: Path) -> None:
    actor_critic = wide(base, reward, **PLANS[plan])
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic, count=4)
    listener: Any = Listener(actor_critic)
    found = ppo_update(
        trajectories, training=listener, actor_critic=actor_critic, text=None, step=1, steps=1, kl_coef=KL
    )
    assert found["first_ratio_error"] < 1e-10
    assert trajectories.metrics["kl"] == pytest.approx(0, abs=1e-10)
    assert found["clip_fraction"] == 0
    assert found["approx_kl"] == pytest.approx(0, abs=1e-10)


def test_temperature_divides_the_logits_of_policy_and_reference(base: Path, reward: Path) -> None:
    actor_critic = wide(base, reward)
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic, count=3)
    plain = loading.load_policy(base, device="cpu", dtype=torch.float64)
    for row, group in enumerate(one_each(trajectories)):
        with torch.no_grad():
            expected = ppo_fixtures.plain_log_probs(plain, group, temperature=0.7)
        for said in (trajectories.log_probs, trajectories.reference_log_probs):
            torch.testing.assert_close(said[row, : len(expected)], expected, rtol=0, atol=1e-10)


def test_values_are_whitened_nowhere_and_advantages_over_the_whole_batch(base: Path, reward: Path) -> None:
    actor_critic = wide(base, reward)
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic, count=6)
    assert not trajectories.mask.all()
    gained = trajectories.advantages[trajectories.mask]
    assert gained.mean().item() == pytest.approx(0, abs=1e-9)
    assert gained.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert trajectories.advantages[~trajectories.mask].abs().max() == 0
    assert trajectories.returns[trajectories.mask].std() > 0.01


# ---- the text that is mixed in ---------------------------------------------------------------------------------------


def mixed(ratio: float) -> PtxText:
    samples = [Group([5 + n], [[40 + n, 41 + n, 42 + n][: 1 + n % 3]]) for n in range(7)]
    return PtxText(samples, seed=0, ratio=ratio)


@pytest.mark.parametrize("budget", [4096, 24])
def test_the_gradient_with_text_is_ppos_plus_gamma_times_the_language_models_in_one_step(
    budget: int, base: Path, reward: Path
) -> None:
    seen = {}
    for coef in (0.0, 27.8):
        actor_critic = wide(
            base, reward, value_init="reward", ptx_coef=coef, ptx_ratio=1.5, max_tokens_per_forward=budget
        )
        _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic, count=4)
        found, listener = updates(actor_critic, trajectories, text=mixed(1.5))
        seen[coef] = dict(listener.seen)
        assert [name for name, _ in listener.seen] == ["policy", "value"]  # one step each
    samples = mixed(1.5).between(0, 6)  # 4 episodes, 1.5 samples each
    tokens = sum(len(group.responses[0]) for group in samples)
    loss = (
        -sum((ppo_fixtures.plain_log_probs(actor_critic.policy, group).sum() for group in samples), torch.zeros(()))
        / tokens
    )
    weights = actor_critic.trained_weights["policy"][1]
    grads = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    assert found["ptx_loss"] == pytest.approx(loss.item(), abs=1e-10)
    same(
        seen[27.8]["policy"],
        {name: seen[0.0]["policy"][name] + 27.8 * grad for name, grad in grads.items()},
        tolerance=1e-9,
    )
    same(seen[27.8]["value"], seen[0.0]["value"])


def test_every_sample_of_the_text_is_read_before_one_comes_again() -> None:
    text = mixed(0.5)
    taken = [text.for_episodes(start, 4) for start in range(0, 28, 4)]
    assert [len(part) for part in taken] == [2] * 7
    first = [group.prompt[0] for part in taken for group in part][:7]
    assert sorted(first) == [5 + n for n in range(7)]
    assert [len(mixed(0.3).for_episodes(start, 1)) for start in range(10)] == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_demonstrations_can_be_the_text_and_the_loss_is_on_their_responses(base: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(base)
    settings = ppo_fixtures.settings(ptx_ratio=1.0)
    text = PtxText.read(recipe_runs.demonstrations(tmp_path, count=3), tokenizer, settings=settings, max_length=64)
    prompts = [
        tokenizer.apply_chat_template(recipe_runs.chat(f"say {n}"), add_generation_prompt=True, return_dict=False)
        for n in range(3)
    ]
    assert text.samples == [
        Group(prompt, [[*tokenizer("ab" * (n + 1))["input_ids"], tokenizer.eos_token_id]])
        for n, prompt in enumerate(prompts)
    ]
    with pytest.raises(BadInput, match="there is no text to train on"):
        PtxText.read(recipe_runs.demonstrations(tmp_path, count=3), tokenizer, settings=settings, max_length=2)


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ppo", "rloo", "grpo"])
def test_a_prompt_computed_once_for_its_responses_changes_nothing(algorithm: str, base: Path, reward: Path) -> None:
    """The same iteration with every response beside a prompt of its own."""
    actor_critic = wide(base, reward, algorithm=algorithm, samples_per_prompt=4, value_init="head")
    _, _, together = ppo_fixtures.sample_trajectories(actor_critic, count=2)
    assert [len(prompt_group.rows) for prompt_group in together.prompt_groups] == [4, 4]
    shared, listener = updates(actor_critic, together)
    apart = [PromptGroup(group, range(row, row + 1)) for row, group in enumerate(one_each(together))]
    alone: Any = Listener(actor_critic)
    fresh = replace(together, prompt_groups=apart)
    found = ppo_update(fresh, training=alone, actor_critic=actor_critic, text=None, step=1, steps=4, kl_coef=KL)
    assert found == pytest.approx(shared, abs=1e-9)
    for (name, one), (_, other) in zip(listener.seen, alone.seen, strict=True):
        same(one, other, tolerance=1e-9)
        assert name in ("policy", "value")


def test_adam_has_the_epsilon_of_the_original(
    base: Path, reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each optimizer its own weights: the value's never those of the policy."""
    made: dict[str, tuple[float, set[str]]] = {}
    plain = Training.optimizer

    def listening(self: Training, name: str, model: Any, **given: Any) -> Any:
        optimizer = plain(self, name, model, **given)
        made[name] = (optimizer.adam.param_groups[0]["eps"], set(optimizer.masters))
        return optimizer

    monkeypatch.setattr(Training, "optimizer", listening)
    given = {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    recipe_runs.run("ppo", tmp_path / "run", {"episodes": 4, "batch_size": 4, "value_init": "head"}, **given)
    assert ppo.ADAM_EPS == 1e-5
    assert {eps for eps, _ in made.values()} == {1e-5}
    assert made["value"][1] == {"score.weight"}
    assert made["policy"][1]
    assert not made["policy"][1] & made["value"][1]
