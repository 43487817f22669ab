"""What holds for every recipe: it learns, it resumes to the same bits, its result does not depend on micro-batches."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import Message
from models_core.modeling import chat, forward, loading
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run, weights
from tests.models_core.tiny import make_tiny_model

STAGES = ("sft", "reward", "ppo")
SHORT: dict[str, dict[str, Any]] = {
    "sft": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
    "reward": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
    "ppo": {"episodes": 16, "batch_size": 4, "max_new_tokens": 6, "learning_rate": 0.01},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def reward_model(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    run("reward", folder / "run", SHORT["reward"], model=str(tiny), data=recipe_runs.rankings(folder))
    return folder / "run" / "model"


@pytest.fixture
def inputs(tiny: Path, reward_model: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What each stage is given."""
    return {
        "sft": {"model": str(tiny), "data": recipe_runs.demonstrations(tmp_path)},
        "reward": {"model": str(tiny), "data": recipe_runs.rankings(tmp_path)},
        "ppo": {"model": str(tiny), "reward": str(reward_model), "data": recipe_runs.prompts(tmp_path)},
    }


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(
    stage: str, method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    values = SHORT[stage] | {"method": method, "save_every": 1}
    run(stage, tmp_path / "whole", values, **inputs[stage])
    with pytest.raises(Stopped):
        run(
            stage, tmp_path / "halves", values, stop=recipe_runs.StopAfter(24 if stage == "ppo" else 3), **inputs[stage]
        )
    assert len(metrics(tmp_path / "halves")) < len(metrics(tmp_path / "whole"))
    run(stage, tmp_path / "halves", values, resume=True, **inputs[stage])

    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


@pytest.mark.parametrize("stage", STAGES)
def test_the_cut_into_micro_batches_changes_nothing(
    stage: str, inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    # One update, of a size at which Adam has not yet turned rounding into a sign.
    values = SHORT[stage] | {"epochs": 1, "batch_size": 8} if stage != "ppo" else SHORT[stage] | {"episodes": 4}
    norms = []
    for budget in (16, 4096):
        run(stage, tmp_path / str(budget), values | {"max_tokens_per_forward": budget}, **inputs[stage])
        norms.append(metrics(tmp_path / str(budget))[0])
    for name, value in norms[0].items():
        assert value == pytest.approx(norms[1][name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("stage", STAGES)
def test_the_result_says_what_was_done(stage: str, inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    result = run(stage, tmp_path / "run", SHORT[stage], **inputs[stage])
    stored = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert stored["status"] == "succeeded"
    assert stored["metrics"] == result
    rate = {"sft": "tokens_per_s", "reward": "rankings_per_s", "ppo": "episodes_per_s"}[stage]
    assert result[rate] > 0


def test_sft_overfits_eight_rows(inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    values = {"epochs": 60, "batch_size": 8, "learning_rate": 0.03}
    result = run("sft", tmp_path / "run", values, **inputs["sft"])
    assert metrics(tmp_path / "run")[0]["loss"] > 4
    assert result["loss"] < 0.3


def test_the_reward_model_overfits_eight_rankings(inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    values = {"epochs": 20, "batch_size": 8, "learning_rate": 0.02}
    run("reward", tmp_path / "run", values, **inputs["reward"])
    last = metrics(tmp_path / "run")[-1]
    assert last["accuracy"] == 1.0
    assert last["loss"] < 0.01


@pytest.mark.parametrize(
    "plan", [{"method": "full"}, {"method": "lora"}, {"algorithm": "rloo"}, {"algorithm": "grpo"}], ids=str
)
def test_ppo_raises_the_score(plan: dict[str, str], inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "episodes": 1024,
        "batch_size": 64,
        "ppo_epochs": 2,
        "max_new_tokens": 6,
        **plan,
    }
    values |= {"learning_rate": 0.02, "kl_coef": 0.0, "max_kl": 0}
    run("ppo", tmp_path / "run", values, **inputs["ppo"])
    scores = [row["score"] for row in metrics(tmp_path / "run")]
    assert scores[-1] > scores[0] + 0.4


@pytest.mark.parametrize("method", ["full", "lora"])
def test_ppo_starts_at_ratio_one_and_at_no_divergence(
    method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run("ppo", tmp_path / "run", SHORT["ppo"] | {"method": method}, **inputs["ppo"])
    first, second = metrics(tmp_path / "run")[:2]
    assert first["first_ratio_error"] == pytest.approx(0, abs=1e-5)
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert second["first_ratio_error"] == pytest.approx(0, abs=1e-5)
    assert second["kl"] != 0


def test_ppo_measures_kl_against_the_reference_given(
    inputs: dict[str, dict[str, Any]], tmp_path: Path, tiny: Path
) -> None:
    run("sft", tmp_path / "policy", SHORT["sft"], **inputs["sft"])
    given = inputs["ppo"] | {"model": str(tmp_path / "policy" / "model"), "reference": str(tiny)}
    run("ppo", tmp_path / "run", SHORT["ppo"] | {"episodes": 64, "batch_size": 64}, **given)
    assert metrics(tmp_path / "run")[0]["kl"] > 0.05


def test_ppo_ends_early_where_the_policy_leaves_the_reference(
    inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    result = run("ppo", tmp_path / "run", SHORT["ppo"] | {"min_entropy": 50.0}, **inputs["ppo"])
    assert result["stopped_by"] == "min_entropy"
    assert result["episodes"] == 4


def test_ppo_mixes_text_into_every_update(inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    text = tmp_path / "corpus.txt"
    text.write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    values = SHORT["ppo"] | {"episodes": 64, "ptx_coef": 10.0, "learning_rate": 0.02}
    run("ppo", tmp_path / "run", values, ptx=text, **inputs["ppo"])
    losses = [row["ptx_loss"] for row in metrics(tmp_path / "run")]
    assert losses[-1] < losses[0] - 0.5


def test_a_padded_batch_scored_by_plain_transformers_gives_the_same_logits(reward_model: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(reward_model)
    messages, texts = (Message(role="user", content="say 3"),), ["a", "mmmm", "zz"]
    group = forward.encode_group(tokenizer, messages, texts, max_length=512).group
    ours = loading.load_reward_model(reward_model, device="cpu", dtype=torch.float32)
    (logits,) = forward.group_logits(ours, [group], budget=4096, device="cpu")

    plain = AutoModelForSequenceClassification.from_pretrained(reward_model)
    batch = AutoTokenizer.from_pretrained(reward_model).pad(
        {"input_ids": [[*chat.encode_prompt(tokenizer, messages, max_tokens=500), *ids] for ids in group.responses]},
        return_tensors="pt",
    )
    assert plain(**batch).logits.squeeze(-1).tolist() == pytest.approx(logits, abs=1e-5)


def test_scores_are_put_on_the_scale_of_the_files_given(inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Scored with the saved shift and scale, demonstrations average 0 and samples deviate by 1."""
    files: dict[str, Any] = {
        "demonstrations": recipe_runs.demonstrations(tmp_path),
        "samples": recipe_runs.rankings(tmp_path),
    }
    result = run("reward", tmp_path / "run", SHORT["reward"], **inputs["reward"], **files)
    assert result["calibrated_on"] == {"shift": "demonstrations", "scale": "samples"}
    model = loading.load_reward_model(tmp_path / "run" / "model", device="cpu", dtype=torch.float32)
    tokenizer = loading.load_tokenizer(tmp_path / "run" / "model")
    shift, scale = loading.reward_scale(model)
    scores = {}
    for name, path in files.items():
        groups = [
            forward.encode_group(tokenizer, row.messages, row.texts, max_length=512)[0]
            for row in row_parser.read(path, "responses")
        ]
        logits = forward.group_logits(model, groups, budget=4096, device="cpu")
        scores[name] = torch.tensor([(logit - shift) / scale for row in logits for logit in row])
    assert scores["demonstrations"].mean().item() == pytest.approx(0, abs=1e-4)
    assert scores["samples"].std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_rankings_that_cannot_teach_are_left_out_and_counted(tiny: Path, tmp_path: Path) -> None:
    def row(number: int, *responses: tuple[str, int | None]) -> dict[str, Any]:
        ranked = [{"text": text, "rank": rank} for text, rank in responses]
        return {"id": str(number), "prompt": recipe_runs.chat(f"say {number}"), "responses": ranked}

    data = recipe_runs.write(
        tmp_path / "rankings.jsonl",
        [
            row(0, ("a", 1), ("b", 2)),
            row(1, ("same", 1), ("same", 2)),
            row(2, ("a", 1), ("b", 1)),
            row(3, ("x" * 600, 1), ("b", 2), ("c", 3)),
        ],
    )
    result = run("reward", tmp_path / "run", {"max_length": 256}, model=str(tiny), data=data)
    assert result["rankings"] == 2
    assert result["left_out"] == {
        "equal_responses": {"count": 1, "rows": ["1"]},
        "all_tied": {"count": 1, "rows": ["2"]},
        "too_long_responses": {"count": 1, "rows": ["3"]},
    }


def test_rankings_without_any_order_are_refused(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"id": "1", "prompt": recipe_runs.chat("a"), "responses": [{"text": "b", "rank": 1}, {"text": "c", "rank": 1}]}
    ]
    data = recipe_runs.write(tmp_path / "rankings.jsonl", rows)
    with pytest.raises(BadInput, match="no ranking has two different responses in a strict order"):
        run("reward", tmp_path / "run", {}, model=str(tiny), data=data)


def test_two_peoples_rankings_of_the_same_responses_are_learned_from_together(tiny: Path, tmp_path: Path) -> None:
    data = recipe_runs.rankings(tmp_path)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    twice = recipe_runs.write(
        tmp_path / "twice.jsonl", [row | {"labeler": labeler} for labeler in ("anna", "ben") for row in rows]
    )
    once = run("reward", tmp_path / "once", {"batch_size": 2, "held_out": 0}, model=str(tiny), data=data)
    both = run("reward", tmp_path / "both", {"batch_size": 4, "held_out": 0}, model=str(tiny), data=twice)
    assert (once["rankings"], both["rankings"]) == (8, 16)
    assert [row["loss"] for row in metrics(tmp_path / "both")] == pytest.approx(
        [row["loss"] for row in metrics(tmp_path / "once")], abs=1e-6
    )
    for name, tensor in weights(tmp_path / "both").items():
        torch.testing.assert_close(tensor, weights(tmp_path / "once")[name], atol=1e-5, rtol=0)
