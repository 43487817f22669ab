"""Ensembles at work: what score writes of them, what best-of-n chooses by, what PPO learns from."""

import json
import statistics
from pathlib import Path

import pytest
import torch

from models_core.commands import sample, score
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PPOConfig, SampleConfig, ScoreConfig
from models_core.modeling import adapters, heads
from models_core.modeling.packing import Group
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.rewards.reward_models import RewardModels
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, run
from tests.models_core.tiny import make_tiny_model

EXACT = {"precision": "fp32", "max_length": 120}
SHORT = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "held_out": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An ensemble of three heads and two single reward models of other seeds."""
    folder = tmp_path_factory.mktemp("trained")
    data = recipe_runs.rankings(folder, count=12)
    for name, values in (("heads", {"ensemble": 3}), ("one", {"seed": 1}), ("two", {"seed": 2})):
        run("reward", folder / name, SHORT | values, model=str(base), data=data)
    return folder


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored(model, data, out, **values):
    result = score.run(ScoreConfig(**{**EXACT, **values}), model=str(model), data=data, out=out, device=CPU)
    return rows_of(out), result


# ---- score -------------------------------------------------------------------------------------------------------


def test_models_named_together_are_heard_on_their_own_scales(trained, tmp_path):
    """Mean, deviation and disagreement by hand, from what each one writes alone."""
    data = recipe_runs.rankings(tmp_path)
    one, two = (scored(trained / name, data, tmp_path / name)[0] for name in ("one", "two"))
    assert all(row.keys() == {"id", "scores"} for row in [*one, *two])
    both, result = scored(f"{trained / 'one'}, {trained / 'two'}", data, tmp_path / "both")
    assert result["responses"] == 24
    for row, first, second in zip(both, one, two, strict=True):
        pairs = list(zip(first["scores"], second["scores"], strict=True))
        assert row["scores"] == pytest.approx([statistics.fmean(pair) for pair in pairs], abs=1e-5)
        assert row["std"] == pytest.approx([statistics.pstdev(pair) for pair in pairs], abs=1e-5)
        apart = [
            statistics.pstdev([pairs[i][head] - pairs[j][head] for head in (0, 1)]) for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        assert row["disagreement"] == pytest.approx(statistics.fmean(apart), abs=1e-5)


def test_heads_and_models_count_alike(trained):
    names = f"{trained / 'heads'},{trained / 'one'}"
    reward_models = RewardModels.load(names, device=CPU, dtype=torch.float32, max_length=120, budget=4096)
    assert reward_models.num_heads == 4
    ((first, second),) = reward_models.head_scores([(recipe_runs.chat("say 3"), ["a", "mmmm"])])
    assert first.shape == second.shape == (4,)


def test_a_folder_with_a_comma_in_its_name_is_one_model(base, tmp_path):
    data = recipe_runs.rankings(tmp_path)
    run("reward", tmp_path / "a,b", SHORT, model=str(base), data=data)
    assert (
        RewardModels.load(str(tmp_path / "a,b"), device=CPU, dtype=torch.float32, max_length=120, budget=4096).num_heads
        == 1
    )


def test_a_response_that_is_too_long_is_refused_or_left_out(trained, tmp_path):
    row = {
        "id": "1",
        "prompt": recipe_runs.chat("say"),
        "responses": [{"text": text} for text in ("a", "z" * 200, "mm")],
    }
    data = recipe_runs.write(tmp_path / "rows.jsonl", [row])
    with pytest.raises(BadInput, match="response 2 of the row '1' is longer"):
        scored(trained / "heads", data, tmp_path / "out.jsonl")
    ((found,), result) = scored(trained / "heads", data, tmp_path / "gaps.jsonl", long_responses="null")
    assert result["too_long_responses"] == 1
    assert [value is None for value in found["scores"]] == [False, True, False]
    assert [value is None for value in found["std"]] == [False, True, False]
    ((without,), _) = scored(
        trained / "heads",
        recipe_runs.write(tmp_path / "two.jsonl", [row | {"responses": [row["responses"][0], row["responses"][2]]}]),
        tmp_path / "without.jsonl",
    )
    assert found["disagreement"] == pytest.approx(without["disagreement"], abs=1e-5)


# ---- best of n ---------------------------------------------------------------------------------------------------


def sampled(base, data, out, **values):
    samples, reward = values.pop("samples"), values.pop("reward")
    settings = SampleConfig(**{**EXACT, "max_new_tokens": 8, **values})
    sample.run(
        settings, model=str(base), data=data, samples=samples, out=out, reward=reward, device=CPU, stop=StopSignal()
    )
    return rows_of(out)


@pytest.mark.parametrize(
    ("objective", "coef", "selection_score"),
    [
        ("std", 2.0, lambda scores: statistics.fmean(scores) - 2 * statistics.pstdev(scores)),
        ("variance", 2.0, lambda scores: statistics.fmean(scores) - 2 * statistics.pvariance(scores)),
        ("worst", 0.0, min),
    ],
)
def test_best_of_n_keeps_the_response_that_no_head_doubts(base, trained, tmp_path, objective, coef, selection_score):
    data, reward = recipe_runs.prompts(tmp_path), str(trained / "heads")
    price = {"reward_objective": objective, "reward_std_coef": coef, "reward": reward}
    every = sampled(base, data, tmp_path / "all.jsonl", samples=6, **price)
    best = sampled(base, data, tmp_path / "best.jsonl", samples=1, best_of=6, **price)
    reward_models = RewardModels.load(reward, device=CPU, dtype=torch.float32, max_length=120, budget=4096)
    moved = 0
    for row, (kept,) in zip(every, (row["responses"] for row in best), strict=True):
        (head_scores,) = reward_models.head_scores([(row["prompt"], [item["text"] for item in row["responses"]])])
        selection_scores = [selection_score(scores.tolist()) for scores in head_scores]
        assert [item["conservative_score"] for item in row["responses"]] == pytest.approx(selection_scores, abs=1e-4)
        assert kept["conservative_score"] == pytest.approx(max(selection_scores), abs=1e-4)
        means = [float(scores.mean()) for scores in head_scores]
        moved += means.index(max(means)) != selection_scores.index(max(selection_scores))
    assert moved > 0  # the price changed what was chosen


def test_a_price_on_disagreement_needs_somebody_who_could_disagree(base, trained, tmp_path):
    data = recipe_runs.prompts(tmp_path)
    for price, said in (({"reward_std_coef": 0.5}, "reward_std_coef"), ({"reward_objective": "worst"}, "worst")):
        with pytest.raises(BadInput, match=f"{said} needs an ensemble"):
            sampled(base, data, tmp_path / "out.jsonl", samples=1, reward=str(trained / "one"), **price)
        given = {"model": str(base), "reward": str(trained / "one"), "data": data}
        with pytest.raises(BadInput, match=f"{said} needs an ensemble"):
            run("ppo", tmp_path / "run", {"episodes": 4, "batch_size": 4, **price}, **given)
    assert {path.name for path in tmp_path.iterdir()} == {"prompts.jsonl"}


# ---- PPO ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "lora"])
def test_ppo_takes_the_heads_that_score_takes_and_no_training_changes_them(base, trained, method):
    """Under lora the first judge is the value model with its adapter off: its heads are those it came with."""
    names = f"{trained / 'heads'},{trained / 'two'}"
    settings = PPOConfig(method=method, max_new_tokens=8, value_init="reward")
    actor_critic = ActorCritic.load(
        settings, model=str(base), reference=str(base), rewards=names.split(","), device=CPU, dtype=torch.float32
    )
    texts = ["a", "zzz"]
    prompt = [{"role": "user", "content": "say 3"}]
    tokenizer = actor_critic.tokenizer
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    groups = [Group(ids, [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]) for text in texts]
    with torch.no_grad():
        for weight in adapters.trainable(actor_critic.value).values():
            weight.add_(torch.randn_like(weight) * 0.1)
    heard = actor_critic.rewards.score_groups(groups, [prompt, prompt])
    reward_models = RewardModels.load(names, device=CPU, dtype=torch.float32, max_length=120, budget=4096)
    ((first, second),) = reward_models.head_scores([(prompt, texts)])
    torch.testing.assert_close(heard, torch.stack([first, second]), atol=1e-4, rtol=1e-4)


def test_ppo_learns_from_the_conservative_score_and_logs_all_three(base, trained, tmp_path):
    given = {"model": str(base), "reward": str(trained / "heads"), "data": recipe_runs.prompts(tmp_path)}
    values = {"episodes": 8, "batch_size": 4, "max_new_tokens": 6, "missing_eos_mode": "none", "kl_coef": 0.0}
    run("ppo", tmp_path / "mean", values, **given)
    run("ppo", tmp_path / "priced", values | {"reward_std_coef": 0.5}, **given)
    run("ppo", tmp_path / "worst", values | {"reward_objective": "worst"}, **given)
    first = {name: metrics(tmp_path / name)[0] for name in ("mean", "priced", "worst")}
    assert len({row["score"] for row in first.values()}) == 1  # the same episodes of the same policy
    mean, priced, worst = first["mean"], first["priced"], first["worst"]
    assert mean["score_std"] > 0
    assert mean["conservative_score"] == pytest.approx(mean["score"])
    assert priced["conservative_score"] == pytest.approx(priced["score"] - 0.5 * priced["score_std"], abs=1e-5)
    assert worst["conservative_score"] < worst["score"]
    for row in first.values():
        assert row["reward"] == pytest.approx(row["conservative_score"], abs=1e-5)


def test_ppo_with_one_head_logs_nothing_of_an_ensemble(base, trained, tmp_path):
    given = {"model": str(base), "reward": str(trained / "one"), "data": recipe_runs.prompts(tmp_path)}
    run("ppo", tmp_path / "run", {"episodes": 4, "batch_size": 4, "max_new_tokens": 4}, **given)
    assert "score_std" not in metrics(tmp_path / "run")[0]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_ppo_against_an_ensemble_resumes_to_the_same_bits(base, trained, tmp_path, method):
    given = {
        "model": str(base),
        "reward": f"{trained / 'heads'},{trained / 'one'}",
        "data": recipe_runs.prompts(tmp_path),
    }
    values = {"episodes": 16, "batch_size": 4, "max_new_tokens": 6, "method": method, "reward_std_coef": 1.0}
    run("ppo", tmp_path / "whole", values, **given)
    with pytest.raises(Stopped):
        run("ppo", tmp_path / "halves", values, stop=recipe_runs.StopAfter(12), **given)
    run("ppo", tmp_path / "halves", values, resume=True, **given)
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = recipe_runs.weights(tmp_path / "whole"), recipe_runs.weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert heads.FILE not in {path.name for path in (tmp_path / "whole/model").iterdir()}
