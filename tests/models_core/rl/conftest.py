"""What a run of PPO is given: each module says which policy by a fixture `base`."""

from pathlib import Path
from typing import Any

import pytest

from tests.models_core import recipe_runs


@pytest.fixture(scope="module")
def reward(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_runs.make_reward_model(base, tmp_path_factory.mktemp("reward") / "model", seed=4)


@pytest.fixture
def given(base: Path, reward: Path, tmp_path: Path) -> dict[str, Any]:
    return {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
