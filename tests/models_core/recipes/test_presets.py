"""Every preset trains a tiny model to its end with its own settings; where those say hours, in fewer episodes."""

from pathlib import Path
from typing import Any

import pytest

from models_core.contract.settings import presets
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

SHORTER: dict[str, dict[str, Any]] = {
    "sft": {},
    "ppo": {"episodes": 8, "batch_size": 4, "minibatches": 2, "max_new_tokens": 4, "eval_prompts": 2, "ptx_coef": 0.0},
}
"""Settings that say how long a run is, not how it is computed. PPO-ptx needs a file, and has its own tests."""


@pytest.mark.parametrize("name", presets.for_stage("sft"))
def test_fine_tuning_by_a_preset_ends_with_a_model(name: str, tmp_path: Path) -> None:
    values = presets.of(name, "sft") | {"processes": 1}  # several have tests of their own
    rows = recipe_runs.demonstrations(tmp_path, count=6)
    model = str(make_tiny_model(tmp_path / "model"))
    result = recipe_runs.run("sft", tmp_path / "run", values, model=model, data=rows)
    assert result["steps"] >= 1
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", presets.for_stage("ppo"))
def test_ppo_by_a_preset_ends_with_a_model(name: str, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    reward = recipe_runs.make_reward_model(model, tmp_path / "reward")
    values = presets.of(name, "ppo") | SHORTER["ppo"] | {"processes": 1}
    recipe_runs.run(
        "ppo", tmp_path / "run", values, model=str(model), reward=str(reward), data=recipe_runs.prompts(tmp_path)
    )
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
