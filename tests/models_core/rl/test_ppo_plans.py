"""Memory plans: the same first iteration under each, fewer weights under some, and refusals in words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from models_core.contract.errors import BadInput
from models_core.contract.runs.run_folder import RunFolder
from models_core.modeling import adapters, loading
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.packing import pack
from models_core.rl.actor_critic import ActorCritic
from tests.models_core import ppo_fixtures, recipe_runs
from tests.models_core.recipe_runs import metrics, run
from tests.models_core.tiny import make_tiny_model, make_tiny_tokenizer

PLANS = {
    "one trunk": {"method": "lora", "value_init": "head"},
    "own value model": {"method": "lora", "value_init": "reward"},
    "value model of the policy": {"method": "lora", "value_init": "policy"},
    "one trunk, own reference": {"method": "lora", "value_init": "head", "share_base_weights": "never"},
    "LoRA, all apart": {"method": "lora", "value_init": "reward", "share_base_weights": "never"},
    "full": {"method": "full"},
    "full, one trunk": {"method": "full", "value_init": "head"},
    "full, value model of the policy": {"method": "full", "value_init": "policy"},
    "rloo": {"method": "lora", "algorithm": "rloo", "samples_per_prompt": 1},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def weights_in_memory(of: ActorCritic) -> int:
    """Numbers in all weights of the networks, those in one place once, LoRA's small ones and heads left out."""
    models: list[Any] = [of.policy, of.reference, of.value, *(judge.model for judge in of.rewards.models.members)]
    found = {}
    for model in filter(None, models):
        for name, weight in trunk(model).named_parameters():
            if "lora_" not in name:
                found[weight.data_ptr()] = weight.numel()
    return sum(found.values())


def test_every_plan_sees_the_same_first_iteration(base: Path, reward: Path) -> None:
    seen = {}
    for name, plan in PLANS.items():
        if plan.get("algorithm") == "rloo":
            continue
        actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(**plan))
        responses, scores, trajectories = ppo_fixtures.sample_trajectories(actor_critic)
        seen[name] = ([response.ids for response in responses], scores, trajectories)
    ids, scores, trajectories = seen.pop("full")
    assert trajectories.metrics["kl"] == pytest.approx(0, abs=1e-6)
    for name, (own_ids, own_scores, own) in seen.items():
        assert own_ids == ids, name
        torch.testing.assert_close(own_scores, scores, atol=1e-5, rtol=0, msg=name)
        torch.testing.assert_close(own.log_probs, trajectories.log_probs, atol=1e-5, rtol=0, msg=name)
        torch.testing.assert_close(
            own.reference_log_probs, trajectories.reference_log_probs, atol=1e-5, rtol=0, msg=name
        )
        for measure in ("reward", "kl", "entropy", "length", "eos_rate"):
            assert own.metrics[measure] == pytest.approx(trajectories.metrics[measure], abs=1e-5), (name, measure)


def test_sharing_halves_the_weights_in_memory(base: Path, reward: Path) -> None:
    one = sum(
        weight.numel() for weight in trunk(loading.load_policy(base, device="cpu", dtype=torch.float32)).parameters()
    )
    counts = {
        name: weights_in_memory(ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(**PLANS[name])))
        for name in ("one trunk", "own value model", "LoRA, all apart", "full")
    }
    assert counts == {"one trunk": 2 * one, "own value model": 2 * one, "LoRA, all apart": 4 * one, "full": 4 * one}


def test_a_shared_trunk_says_in_one_pass_what_it_says_in_two(base: Path, reward: Path) -> None:
    actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(value_init="head", temperature=0.7))
    ppo_fixtures.shake(actor_critic.policy)
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic)
    packed = pack([prompt_group.group for prompt_group in trajectories.prompt_groups])
    with torch.no_grad():
        log_probs, values = actor_critic.log_probs_and_values(packed)
        torch.testing.assert_close(log_probs, actor_critic.log_probs(packed))
        torch.testing.assert_close(values, actor_critic.values(packed))
        group = trajectories.prompt_groups[3].group
        by_hand = actor_critic.policy.score(ppo_fixtures.plain_states(trunk(actor_critic.policy), group)).squeeze(-1)
    torch.testing.assert_close(trajectories.values[3][trajectories.mask[3]], by_hand, atol=1e-5, rtol=1e-5)
    assert values.abs().max() > 0.01


def test_an_own_value_model_starts_from_the_reward_model_and_its_scale(base: Path, reward: Path) -> None:
    for plan in ("own value model", "LoRA, all apart", "full"):
        actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(**PLANS[plan]))
        _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic)
        judge = loading.load_reward_model(reward, device="cpu", dtype=torch.float32)
        group = trajectories.prompt_groups[2].group
        with torch.no_grad():
            by_hand = judge.score(ppo_fixtures.plain_states(trunk(judge), group)).squeeze(-1)
        torch.testing.assert_close(
            trajectories.values[2][trajectories.mask[2]], by_hand, atol=1e-5, rtol=1e-5, msg=plan
        )


def test_the_reference_and_the_reward_model_stand_still_while_others_learn(base: Path, reward: Path) -> None:
    for name in ("one trunk", "own value model", "LoRA, all apart", "full"):
        actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(**PLANS[name]))
        _, before, trajectories = ppo_fixtures.sample_trajectories(actor_critic)
        for model, _ in actor_critic.trained_weights.values():
            ppo_fixtures.shake(model)
        groups = [prompt_group.group for prompt_group in trajectories.prompt_groups]
        with torch.no_grad():
            after = actor_critic.reference_log_probs(pack(groups))
            moved = actor_critic.log_probs(pack(groups))
        expected = trajectories.reference_log_probs[trajectories.mask]
        torch.testing.assert_close(after, expected, atol=1e-5, rtol=0, msg=name)
        assert (moved - expected).abs().max() > 0.01, name
        again = actor_critic.rewards.score_groups(groups, [()] * len(groups)).mean(1)
        torch.testing.assert_close(again, before, atol=1e-5, rtol=0, msg=name)


def test_by_default_lora_takes_one_trunk_and_full_starts_values_from_the_reward_model(
    base: Path, reward: Path, tmp_path: Path
) -> None:
    lora = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings())
    assert lora.value is lora.policy
    assert lora.reference is lora.policy
    assert loading.head(lora.value).weight.abs().max() == 0
    foreign = recipe_runs.make_reward_model(another_vocabulary(tmp_path / "words"), tmp_path / "foreign")
    without = ppo_fixtures.actor_critic(base, foreign, ppo_fixtures.settings(method="full"))
    assert without.value is not without.policy  # what reads other tokens cannot say what the policy's are worth
    assert loading.head(without.value).weight.abs().max() == 0
    full = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(method="full"))
    assert loading.head(full.value).weight.abs().max() > 0
    assert (
        len({id(model) for model in (full.policy, full.reference, full.value, full.rewards.models.members[0].model)})
        == 4
    )


@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_group_baselines_have_no_value_model(algorithm: str, base: Path, reward: Path) -> None:
    actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(algorithm=algorithm))
    assert actor_critic.value is None
    assert set(actor_critic.trained_weights) == {"policy"}


def test_a_policy_is_saved_without_its_value_head(base: Path, reward: Path, tmp_path: Path) -> None:
    given = {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    values = {"episodes": 8, "batch_size": 4, "max_new_tokens": 4, "value_init": "head"}
    run("ppo", tmp_path / "run", values, **given)
    with safe_open(tmp_path / "run" / "model" / "model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "score" in name]  # noqa: SIM118
    loading.load_policy(tmp_path / "run", device="cpu", dtype=torch.float32)


def test_a_later_round_measures_from_the_sft_model_it_names(base: Path, reward: Path, tmp_path: Path) -> None:
    """A folder by two names is one model: no second copy is loaded for it."""
    same = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(), reference=base / ".." / base.name)
    assert same.reference is same.policy
    other = make_tiny_model(tmp_path / "other", seed=9)
    actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings(), reference=other)
    assert actor_critic.reference is not actor_critic.policy
    assert ppo_fixtures.sample_trajectories(actor_critic)[2].metrics["kl"] > 0.05


# ---- what cannot be --------------------------------------------------------------------------------------------------


def another_vocabulary(folder: Path) -> Path:
    make_tiny_model(folder)
    tokenizer = make_tiny_tokenizer()
    tokenizer.add_tokens(["<|more|>"])
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    return folder


def test_plans_that_cannot_be_are_refused(base: Path, reward: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"method": "full", "share_base_weights": "always"}, {}, "share_base_weights=always needs a method"),
        ({}, {"reference": str(make_tiny_model(tmp_path / "neox", kind="neox"))}, "another architecture"),
        ({}, {"reference": str(another_vocabulary(tmp_path / "words"))}, "another vocabulary"),
    ]
    foreign = another_vocabulary(tmp_path / "foreign")
    foreign_reward = recipe_runs.make_reward_model(foreign, tmp_path / "foreign_reward")
    cases.append(({"value_init": "reward"}, {"reward": str(foreign_reward)}, "value_init=reward needs"))
    given = {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    for number, (values, more, said) in enumerate(cases):
        with pytest.raises(BadInput, match=said):
            run("ppo", tmp_path / f"run{number}", {"episodes": 4, **values}, **(given | more))
        assert not RunFolder(tmp_path / f"run{number}").path.exists()


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("kind", ["gpt2", "qwen"])
def test_policy_and_reward_may_differ_in_size_family_and_tokenizer(
    method: str, kind: str, base: Path, tmp_path: Path
) -> None:
    """What a reward model of other tokens scores is the text: the same as it says of it alone."""
    folder = another_vocabulary(tmp_path / "words") if kind == "qwen" else tmp_path / "gpt2"
    make_tiny_model(folder, kind=kind) if kind == "gpt2" else None
    foreign = recipe_runs.make_reward_model(folder, tmp_path / "reward", seed=2)
    actor_critic = ppo_fixtures.actor_critic(base, foreign, ppo_fixtures.settings(method=method))
    responses, scores, _ = ppo_fixtures.sample_trajectories(actor_critic, count=4)
    judge = loading.load_reward_model(foreign, device="cpu", dtype=torch.float32)
    tokenizer = loading.load_tokenizer(foreign)
    for response, score in zip(responses, scores, strict=True):
        prompt = tokenizer.apply_chat_template(
            list(response.prompt.messages), add_generation_prompt=True, return_dict=False
        )
        if kind == "gpt2":  # the same tokens: what was sampled, an EOS behind it
            body = [token for token in response.ids if token != tokenizer.eos_token_id]
            row = [*prompt, *body, tokenizer.eos_token_id]
        else:
            row = [*prompt, *tokenizer(response.text)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            states = trunk(judge)(input_ids=torch.tensor([row])).last_hidden_state[0, -1]
            assert score.item() == pytest.approx(judge.score(states).item(), abs=1e-4)
    given = {"model": str(base), "reward": str(foreign), "data": recipe_runs.prompts(tmp_path)}
    run("ppo", tmp_path / "run", {"episodes": 8, "batch_size": 4, "max_new_tokens": 4, "method": method}, **given)
    assert len(metrics(tmp_path / "run")) == 2


def test_lora_switched_off_is_the_base_to_the_bit(base: Path, reward: Path) -> None:
    actor_critic = ppo_fixtures.actor_critic(base, reward, ppo_fixtures.settings())
    _, _, trajectories = ppo_fixtures.sample_trajectories(actor_critic)
    groups = [prompt_group.group for prompt_group in trajectories.prompt_groups]
    ppo_fixtures.shake(actor_critic.policy)
    plain = loading.load_policy(base, device="cpu", dtype=torch.float32)
    with torch.no_grad(), adapters.adapter_off(actor_critic.policy):
        off = torch.cat([ppo_fixtures.plain_log_probs(actor_critic.policy, group) for group in groups])
        expected = torch.cat([ppo_fixtures.plain_log_probs(plain, group) for group in groups])
    assert torch.equal(off, expected)
