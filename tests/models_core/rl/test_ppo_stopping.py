"""PPO told to stop by a signal: a checkpoint, status 3, and a run that goes on from there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """A run that takes for ever."""
    given = ["--model", "model", "--reward", "reward", "--data", "prompts.jsonl", "--out", "run", "--device", "cpu"]
    values = {"episodes": 10**6, "batch_size": 8, "max_new_tokens": 4, "precision": "fp32", "save_every": 0}
    settings = [f"--set={name}={value}" for name, value in values.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "models_core", "ppo", *given, *settings, *options],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped_at(process: "subprocess.Popen[str]", *, after: str) -> int:
    """Send SIGTERM once a line begins so; the step that it says it stopped after."""
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith(after))
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 3, said
    found = re.fullmatch(
        r"Stopped after step (\d+) of 125000; --resume goes on from there\.", said.strip().splitlines()[-1]
    )
    assert found, said
    return int(found[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = make_tiny_model(tmp_path / "model")
    recipe_runs.make_reward_model(base, tmp_path / "reward")
    recipe_runs.prompts(tmp_path)
    return tmp_path


@pytest.mark.long
def test_sigterm_saves_and_ends_with_status_3_and_the_run_goes_on(folder: Path) -> None:
    first = stopped_at(start(folder), after="step 2/")
    assert first >= 2
    assert [path.name for path in (folder / "run" / "checkpoints").glob("step-*")] == [f"step-{first:08d}"]
    assert not (folder / "run" / "model").exists()
    second = stopped_at(start(folder, "--resume"), after=f"step {first + 2}/")
    assert second >= first + 2
    steps = [row["step"] for row in recipe_runs.metrics(folder / "run") if "policy_loss" in row]
    assert steps == list(range(1, second + 1))
