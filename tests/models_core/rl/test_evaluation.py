"""A policy watched while it learns: whole runs of a tiny one, whose reward is a function."""

import json

import pytest
import torch

from models_core import __main__ as command_line
from models_core.contract.errors import Stopped
from models_core.rl.early_stopping import EarlyStopping, StopReason
from models_core.rl.rewards.base import RewardFailed
from models_core.training import checkpoint
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

MODULE = "tests.models_core.rl.test_evaluation"
VALUES = {
    "episodes": 16, "batch_size": 4, "max_new_tokens": 5, "learning_rate": 0.02, "held_out": 0.3, "eval_every": 2,
}  # fmt: skip
failing = {"after": 10**9, "calls": 0}


def few_letters(rows, texts):
    """More for texts of small letters."""
    return [sum(letter.islower() for letter in text) - 0.1 * len(text) for text in texts]


def constant(rows, texts):
    return [0.5] * len(texts)


def breaks(rows, texts):
    failing["calls"] += 1
    return [float("nan")] * len(texts) if failing["calls"] > failing["after"] else few_letters(rows, texts)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def given(tiny, tmp_path):
    return {"model": str(tiny), "reward": f"{MODULE}:few_letters", "data": recipe_runs.prompts(tmp_path, count=40)}


def run(folder, given, *, stop=None, resume=False, **values):
    return recipe_runs.run("ppo", folder, VALUES | values, stop=stop, resume=resume, **given)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measured(folder):
    return {row["step"]: row for row in recipe_runs.metrics(folder) if "eval_reward" in row}


def test_the_same_held_out_prompts_are_answered_at_the_beginning_along_the_way_and_at_the_end(given, tmp_path):
    result = run(tmp_path / "run", given)
    rows = lines(tmp_path / "run" / "samples.jsonl")
    steps = sorted({row["step"] for row in rows})
    assert steps == [0, 2, 4]
    asked = [[row["id"] for row in rows if row["step"] == step] for step in steps]
    assert asked[0] == asked[1] == asked[2]
    assert 5 <= len(asked[0]) < 40
    assert result["prompts"] == 40 - len(asked[0])
    for step, episodes in zip(steps, (0, 8, 16), strict=True):
        own, found = [row for row in rows if row["step"] == step], measured(tmp_path / "run")[step]
        assert {row["episodes"] for row in own} == {episodes}
        assert found["eval_score"] == pytest.approx(sum(row["score"] for row in own) / len(own), abs=1e-6)
        kl = sum(row["logprob"] - row["reference_logprob"] for row in own) / len(own)
        assert found["eval_kl"] == pytest.approx(kl, abs=1e-9)
    assert all(row["logprob"] == row["reference_logprob"] and row["held_out"] for row in rows if row["step"] == 0)
    assert any(row["logprob"] != row["reference_logprob"] for row in rows if row["step"] == 4)
    assert (tmp_path / "run" / "reward_kl.svg").read_text().startswith("<svg")


def test_held_out_responses_pay_for_their_form_too(given, tmp_path):
    run(tmp_path / "run", given, missing_eos_mode="none", length_penalty_coef=0.5, length_target=2, episodes=4)
    found = measured(tmp_path / "run")[0]
    rows = [row for row in lines(tmp_path / "run" / "samples.jsonl") if row["step"] == 0]
    assert found["eval_length"] == 5
    assert found["eval_reward"] == pytest.approx(sum(row["score"] for row in rows) / len(rows) - 1.5, abs=1e-6)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_model_is_the_policy_that_earned_most_on_held_out_prompts(given, tmp_path, method):
    result = run(tmp_path / "best", given, eval_every=1, learning_rate=0.1, method=method)
    found = {step: row["eval_reward"] for step, row in measured(tmp_path / "best").items() if step}
    assert list(found) == [1, 2, 3, 4]
    assert result["best_step"] == max(found, key=found.get)
    assert result["eval_reward"] == found[result["best_step"]]
    assert result["eval_reward_start"] == measured(tmp_path / "best")[0]["eval_reward"]
    # A measurement of the saved model finds what was measured of it.
    again = run(
        tmp_path / "again", given | {"model": str(tmp_path / "best" / "model"), "reference": given["model"]},
        episodes=4, learning_rate=0.0,
    )  # fmt: skip
    assert again["eval_reward_start"] == pytest.approx(result["eval_reward"], abs=1e-5)


def test_without_load_best_at_end_the_last_weights_are_saved(given, tmp_path):
    best = run(tmp_path / "best", given, eval_every=1, learning_rate=0.1)
    last = run(tmp_path / "last", given, eval_every=1, learning_rate=0.1, load_best_at_end=False)
    assert "best_step" not in last
    assert last["eval_reward"] == measured(tmp_path / "last")[4]["eval_reward"]
    kept = recipe_runs.weights(tmp_path / "best")
    same = all(torch.equal(kept[name], weight) for name, weight in recipe_runs.weights(tmp_path / "last").items())
    assert same == (best["best_step"] == 4)


def test_a_measurement_beyond_the_ceiling_chooses_nothing(given, tmp_path):
    low = run(tmp_path / "run", given, eval_every=1, learning_rate=0.1, max_kl=1e-9, patience=2)
    assert "best_step" not in low
    assert low["stopped_by"] in ("max_kl", "patience")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_after_a_guard_the_weights_that_last_passed_become_the_model(given, tmp_path, monkeypatch, method):
    """They gave the responses of iteration 2, so one iteration was learned from; iteration 2's own update is undone."""
    iterations = []

    def third(early_stopping, metrics, scores, *, settings):
        iterations.append(metrics["kl"])
        return StopReason("max_kl", "Too far.") if len(iterations) == 3 else None

    monkeypatch.setattr(EarlyStopping, "check_rollouts", third)
    result = run(tmp_path / "run", given, held_out=0.0, method=method, ema_decay=0.9)
    assert (result["stopped_early"], result["stopped_by"], result["episodes"]) == ("Too far.", "max_kl", 12)
    iterations.append(None)  # no guard any more
    kept = checkpoint_after(tmp_path / "kept", given, step=1, method=method, ema_decay=0.9)
    saved = recipe_runs.weights(tmp_path / "run")
    if method == "full":
        assert all(torch.equal(saved[name], kept[name]) for name in kept)
    else:
        start = recipe_runs.load_file(f"{given['model']}/model.safetensors")
        name = "model.layers.0.self_attn.q_proj.weight"
        lora = [kept[f"model.layers.0.self_attn.q_proj.lora_{letter}.default.weight"] for letter in "BA"]
        scale = (saved[name] - start[name]).norm() / (lora[0] @ lora[1]).norm()
        assert torch.allclose(saved[name], start[name] + scale * lora[0] @ lora[1], atol=1e-6)
        assert scale > 0


def checkpoint_after(folder, given, *, step, **values):
    """The weights that would be saved after a step of the same run, from its checkpoint."""
    with pytest.raises(Stopped):
        run(folder, given, stop=StopBetween(step), held_out=0.0, **values)
    found = checkpoint.latest(folder / "checkpoints")
    assert found.step == step
    if (found.folder / "average.safetensors").exists():
        return found.tensors("average")
    masters = found.tensors("policy")
    return {name.removesuffix(".master"): value for name, value in masters.items() if name.endswith(".master")}


class StopBetween(recipe_runs.StopSignal):
    """A stop request that arrives while step `step` is being learned from."""

    def __init__(self, step):
        super().__init__()
        self.step, self.checks = step, 0

    def check(self):
        self.checks += 1
        super().check()
        self.requested = self.requested or self.checks == self.step


def test_a_policy_that_learns_nothing_any_more_ends_the_run(given, tmp_path):
    result = run(tmp_path / "run", given | {"reward": f"{MODULE}:constant"})
    assert (result["stopped_by"], result["episodes"]) == ("zero_variance_patience", 12)
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_measuring_changes_nothing_of_what_is_learned(given, tmp_path, method):
    found = []
    for name, every in (("often", 1), ("seldom", 0)):
        run(tmp_path / name, given, eval_every=every, method=method, learning_rate=0.1, ema_decay=0.5)
        found.append([row for row in recipe_runs.metrics(tmp_path / name) if "kl" in row])
    assert len(found[0]) == 4
    assert found[0] == found[1]


def test_what_a_killed_run_was_writing_of_its_baseline_is_drawn_again(given, tmp_path):
    """It had a prompt's line of an iteration that was not saved, and half of the next line."""
    values = {"reward_baseline": True, "save_every": 1}
    run(tmp_path / "whole", given, **values)
    with pytest.raises(Stopped):
        run(tmp_path / "halves", given, stop=StopBetween(2), **values)
    whole = lines(tmp_path / "whole" / "baseline.jsonl")
    path = tmp_path / "halves" / "baseline.jsonl"
    done = max(row["step"] for row in lines(path))
    ahead = next(row for row in whole if row["step"] > done)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(ahead | {"score": 1e6}) + "\n" + '{"step": 3, "id"')
    run(tmp_path / "halves", given, resume=True, **values)
    assert lines(path) == whole
    assert recipe_runs.metrics(tmp_path / "halves") == recipe_runs.metrics(tmp_path / "whole")


@pytest.mark.parametrize("looks", [1, 4, 9, 23, 38, 52])
def test_a_run_stopped_anywhere_ends_with_the_same_bits_and_files(given, tmp_path, looks):
    values = {
        "eval_every": 1, "reward_normalise": "standard", "reward_baseline": True, "method": "lora", "save_every": 0,
    }  # fmt: skip
    whole = run(tmp_path / "whole", given, **values)
    with pytest.raises(Stopped):
        run(tmp_path / "halves", given, stop=recipe_runs.StopAfter(looks), **values)
    halves = run(tmp_path / "halves", given, resume=True, **values)
    assert recipe_runs.metrics(tmp_path / "halves") == recipe_runs.metrics(tmp_path / "whole")
    for name in ("samples.jsonl", "baseline.jsonl", "reward_kl.svg"):
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for name, weight in recipe_runs.weights(tmp_path / "whole").items():
        assert torch.equal(recipe_runs.weights(tmp_path / "halves")[name], weight)
    timeless = [{k: v for k, v in found.items() if k not in ("seconds", "episodes_per_s")} for found in (whole, halves)]
    assert timeless[0] == timeless[1]


def test_a_checkpoint_of_an_earlier_version_goes_on_to_the_same_bits(given, tmp_path):
    """Its state has other keys: those of before PPO's state was one object."""
    values = {"eval_every": 1, "reward_normalise": "standard", "method": "lora", "save_every": 0}
    run(tmp_path / "whole", given, **values)
    with pytest.raises(Stopped):
        run(tmp_path / "halves", given, stop=recipe_runs.StopAfter(38), **values)
    path = checkpoint.latest(tmp_path / "halves" / "checkpoints").folder / "state.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    state = document["state"]["recipe"]
    evaluator = state["evaluator"]
    document["state"]["recipe"] = {
        "kl_coef": state["kl_coef"],
        "averaged": state["average_updates"],
        "rewards": state["rewards"],
        "watch": {
            "guards": {"flat": evaluator["early_stopping"]["zero_variance"]},
            "measured": evaluator["last_step"],
            "start": evaluator["initial"],
            "latest": evaluator["latest"],
            "scale": evaluator["penalty_scale"],
        },
        "sampler": {"is_trusted": state["logprob_check"]["enabled"]},
        "latest": state["metrics"],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    run(tmp_path / "halves", given, resume=True, **values)
    assert recipe_runs.metrics(tmp_path / "halves") == recipe_runs.metrics(tmp_path / "whole")
    for name, weight in recipe_runs.weights(tmp_path / "whole").items():
        assert torch.equal(recipe_runs.weights(tmp_path / "halves")[name], weight)


def test_a_source_that_fails_on_the_way_leaves_a_checkpoint_that_goes_on(given, tmp_path):
    given = given | {"reward": f"{MODULE}:breaks"}
    failing.update(calls=0, after=4)  # the smoke test, the beginning, two iterations
    with pytest.raises(RewardFailed, match="returned nan for response 1 of 4"):
        run(tmp_path / "halves", given, eval_every=0)
    assert checkpoint.latest(tmp_path / "halves" / "checkpoints").step == 2
    failing.update(after=10**9)
    run(tmp_path / "halves", given, eval_every=0, resume=True)
    run(tmp_path / "whole", given, eval_every=0)
    assert recipe_runs.metrics(tmp_path / "halves") == recipe_runs.metrics(tmp_path / "whole")
    for name, weight in recipe_runs.weights(tmp_path / "whole").items():
        assert torch.equal(recipe_runs.weights(tmp_path / "halves")[name], weight)


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (f"{MODULE}:missing", "missing is not in that module."),
        (
            "tests.models_core.rl.rewards.example_rewards:nan",
            "returned nan for response 1 of 1, which is not a finite number.",
        ),
        ("http://127.0.0.1:1/v1", "was asked once and broke off (Connection refused)."),
        ("os:system,other", "several reward models, or one judge or function alone: os:system is no model."),
    ],
)
def test_a_reward_that_is_no_use_is_bad_input_and_nothing_is_written(given, tmp_path, capsys, reward, sentence):
    arguments = ["ppo", "--model", given["model"], "--reward", reward, "--data", given["data"]]
    arguments += ["--out", tmp_path / "run", "--set", "server_retries=0", "--set", "precision=fp32"]
    assert command_line.main([str(argument) for argument in arguments]) == 2
    assert capsys.readouterr().err.strip().split("\n")[-1].endswith(sentence)
    assert not (tmp_path / "run").exists()
