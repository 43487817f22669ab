"""Every stage under every method: it learns, resumes to the same bits, and its result is what it measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models_core.commands import evaluate
from models_core.commands import sample as sampling
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import METHODS, STAGES, parse
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import SMALL

ADDING = tuple(method for method in METHODS if method not in ("full", "last_n", "lora"))
"""Full fine-tuning and LoRA have their places in the tests of the recipes."""
RATES = {"full": 0.01, "last_n": 0.01, "ia3": 0.1, "prompt": 0.1, "p_tuning_v2": 0.1}
SHORT: dict[str, dict[str, Any]] = {
    "sft": {"epochs": 2, "batch_size": 4},
    "reward": {"epochs": 2, "batch_size": 4},
    "ppo": {"episodes": 12, "batch_size": 4, "max_new_tokens": 6, "max_kl": 0},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def reward_model(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    run("reward", folder / "run", values_for("reward", "full"), model=str(tiny), data=recipe_runs.rankings(folder))
    return folder / "run"


@pytest.fixture
def inputs(tiny: Path, reward_model: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What each stage is given."""
    rows = recipe_runs.demonstrations(tmp_path)
    return {
        "sft": {"model": str(tiny), "data": rows, "evaluation": rows},
        "reward": {"model": str(tiny), "data": recipe_runs.rankings(tmp_path)},
        "ppo": {"model": str(tiny), "reward": str(reward_model), "data": recipe_runs.prompts(tmp_path)},
    }


def values_for(stage: str, method: str) -> dict[str, Any]:
    return SMALL | SHORT[stage] | {"method": method, "learning_rate": RATES.get(method, 0.02)}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All weights that a run left behind."""
    files = sorted(folder.glob("model/*.safetensors")) + sorted(folder.glob("adapter/*.safetensors"))
    return {f"{path.parent.name}.{name}": value for path in files for name, value in load_file(path).items()}


@pytest.mark.parametrize("method", ADDING)
@pytest.mark.parametrize("stage", ["sft", "reward", "ppo"])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(
    stage: str, method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = values_for(stage, method) | {"save_every": 1}
    result = run(stage, tmp_path / "whole", values, **inputs[stage])
    assert f"the method {method} trains {result['trained_parameters']:,} of " in capsys.readouterr().err
    with pytest.raises(Stopped):
        run(
            stage, tmp_path / "halves", values, stop=recipe_runs.StopAfter(22 if stage == "ppo" else 5), **inputs[stage]
        )
    assert 0 < len(metrics(tmp_path / "halves")) < len(metrics(tmp_path / "whole"))
    (checkpoint,) = (tmp_path / "halves" / "checkpoints").glob("step-*")
    optimizer = "policy" if stage == "ppo" else "model"
    masters = [name for name in load_file(checkpoint / f"{optimizer}.safetensors") if name.endswith(".master")]
    assert masters
    assert not any(name.startswith("model.embed_tokens") for name in masters), "only what learns is saved"
    run(stage, tmp_path / "halves", values, resume=True, **inputs[stage])

    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = tensors(tmp_path / "whole"), tensors(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    stored = json.loads((tmp_path / "halves" / "result.json").read_text(encoding="utf-8"))
    assert stored["metrics"]["trained_parameters"] == result["trained_parameters"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_sft_learns_and_the_evaluation_of_its_run_measures_the_same_loss(
    method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    values = values_for("sft", method) | {"epochs": 8, "batch_size": 8}
    result = run("sft", tmp_path / "run", values, **inputs["sft"])
    losses = [row["loss"] for row in metrics(tmp_path / "run")]
    assert losses[-1] < losses[0] - 0.02
    report = evaluate.run(
        parse(STAGES["evaluate"], {"precision": "fp32", "num_generated": 0}), model=str(tmp_path / "run"),
        data=inputs["sft"]["data"], out=tmp_path / "report.json", device=recipe_runs.CPU, stop=StopSignal(),
    )  # fmt: skip
    assert report["loss"] == pytest.approx(result["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_ppo_starts_where_the_method_does(method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """At ratio 1, and at no divergence but under virtual tokens, which no reference has."""
    run("ppo", tmp_path / "run", values_for("ppo", method) | {"ema_decay": 0.0}, **inputs["ppo"])
    first, second = metrics(tmp_path / "run")[:2]
    is_soft = method in ("prefix", "prompt", "p_tuning", "p_tuning_v2")
    assert first["first_ratio_error"] == pytest.approx(0, abs=1e-5)
    assert second["first_ratio_error"] == pytest.approx(0, abs=1e-5)
    assert (abs(first["kl"]) > 1e-4) == is_soft
    assert second["kl"] != 0


@pytest.mark.parametrize("method", ["adapter", "p_tuning", "prefix"])
def test_a_second_round_of_ppo_is_measured_from_the_first_ones_policy(
    method: str, inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """A policy and a reward model that carry adapters themselves: training goes on from them, and turns off to them."""
    run("sft", tmp_path / "sft", values_for("sft", method), **inputs["sft"])
    given = {"model": str(tmp_path / "sft")}
    run("reward", tmp_path / "reward", values_for("reward", method), **inputs["reward"] | given)
    given |= {"reward": str(tmp_path / "reward")}
    run("ppo", tmp_path / "ppo", values_for("ppo", method), **inputs["ppo"] | given)
    first, second = metrics(tmp_path / "ppo")[:2]
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert second["kl"] != 0
    assert (tmp_path / "ppo" / "adapter" / "adapter.safetensors").is_file()


def test_the_sampling_command_reads_a_runs_adapter(inputs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    values = values_for("sft", "p_tuning_v2") | {"epochs": 30, "batch_size": 8, "learning_rate": 0.3}
    run("sft", tmp_path / "run", values, **inputs["sft"])
    settings = parse(STAGES["sample"], {"temperature": 0.0, "max_new_tokens": 8, "precision": "fp32"})
    texts = []
    for name in (inputs["sft"]["model"], str(tmp_path / "run")):
        out = tmp_path / f"{len(texts)}.jsonl"
        sampling.run(
            settings, model=name, data=recipe_runs.prompts(tmp_path), samples=1, out=out, device=recipe_runs.CPU,
            stop=StopSignal(),
        )  # fmt: skip
        texts.append([json.loads(line)["responses"][0]["text"] for line in out.read_text().splitlines()])
    assert all(plain != tuned for plain, tuned in zip(*texts, strict=True)), texts


def test_what_cannot_run_is_refused_before_a_run_folder_is_made(
    inputs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    for stage in ("sft", "reward", "ppo"):
        values = values_for(stage, "prefix") | {"virtual_tokens": 500}
        with pytest.raises(BadInput, match="virtual_tokens is 500"):
            run(stage, tmp_path / "run", values, **inputs[stage])
        assert not (tmp_path / "run").exists()
