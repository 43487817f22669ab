"""What a run in bf16 learned is saved in fp32: most of it is less than half a bf16 step of the weight it belongs to."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

RATE = 1e-5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_small_updates_of_a_bf16_run_are_in_the_file_and_in_the_next_run(kind: str, tmp_path: Path) -> None:
    given = {"data": recipe_runs.demonstrations(tmp_path)}
    values = {"precision": "bf16", "epochs": 1, "batch_size": 8, "learning_rate": RATE, "held_out": 0}
    base = make_tiny_model(tmp_path / "model", kind=kind)
    recipe_runs.run("sft", tmp_path / "first", values, model=str(base), **given)
    recipe_runs.run("sft", tmp_path / "second", values, model=str(tmp_path / "first" / "model"), **given)
    start, first, second = (
        load_file(folder / "model.safetensors")
        for folder in (base, tmp_path / "first" / "model", tmp_path / "second" / "model")
    )
    assert start.keys() == first.keys() == second.keys()
    learned = [
        name for name, weight in start.items() if weight.dim() == 2 and "embed" not in name and "wpe" not in name
    ]
    for name in learned:
        assert first[name].dtype == torch.float32
        # One step of AdamW moves nearly every weight by the learning rate; the next run goes on from there.
        for earlier, later in ((start, first), (first, second)):
            moved = (later[name] - earlier[name]).abs()
            assert moved.max() <= RATE * 1.01
            assert moved.median() == pytest.approx(RATE, rel=0.05)


def test_a_policy_that_learned_in_bf16_is_saved_in_fp32_too(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "model")
    reward_values = {"epochs": 1, "batch_size": 8, "held_out": 0}
    recipe_runs.run("reward", tmp_path / "reward", reward_values, model=str(base), data=recipe_runs.rankings(tmp_path))
    values = {
        "precision": "bf16", "method": "full", "episodes": 8, "batch_size": 8, "minibatches": 1, "max_new_tokens": 6,
        "learning_rate": RATE,
    }  # fmt: skip
    given = {"model": str(base), "reward": str(tmp_path / "reward" / "model"), "data": recipe_runs.prompts(tmp_path)}
    recipe_runs.run("ppo", tmp_path / "policy", values, **given)
    start, end = load_file(base / "model.safetensors"), recipe_runs.weights(tmp_path / "policy")
    for name in (name for name, weight in start.items() if weight.dim() == 2 and "embed" not in name):
        moved = (end[name] - start[name]).abs()
        assert end[name].dtype == torch.float32
        assert moved.max() <= RATE * 1.01
        assert moved.median() == pytest.approx(RATE, rel=0.1)
