"""Runs that are killed at random, again and again, and end with the bits of one that was left alone.

Each attempt is a process of its own, forked from a server that has loaded torch but computed nothing, and ended by
SIGKILL: nothing of it can say goodbye.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.harness.rollout_server import tiny_vllm
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, weights
from tests.models_core.tiny import make_tiny_model

KILLS = 4
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.models_core.recipe_runs"])


def attempt(stage: str, folder: Path, values: dict[str, Any], given: dict[str, Any], resume: bool) -> None:
    """One process of a run."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    recipe_runs.run(stage, folder, values, resume=resume, **given)


def start(*arguments: Any) -> Any:
    process = CONTEXT.Process(target=attempt, args=arguments)
    process.start()
    return process


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_at(step: int, process: Any, folder: Path, *, delay: float) -> bool:
    """Kill the process `delay` seconds after it told of the step; False where it ended before."""
    while lines(folder) < step and process.is_alive():
        time.sleep(0.001)
    process.join(delay)
    if not process.is_alive():
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return True


@pytest.mark.long
@pytest.mark.parametrize("stage", ["sft", "reward", "pretrain", "dpo", "ppo"])
def test_a_run_killed_at_random_steps_ends_with_the_same_bits(stage: str, tmp_path: Path) -> None:
    model = str(make_tiny_model(tmp_path / "model"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"the cat number {n} sat on the mat." for n in range(60)), encoding="utf-8")
    given: dict[str, Any] = {
        "sft": {"model": model, "data": recipe_runs.demonstrations(tmp_path, count=24)},
        "reward": {"model": model, "data": recipe_runs.rankings(tmp_path, count=24)},
        "pretrain": {"model": model, "data": corpus},
        "dpo": {"model": model, "data": recipe_runs.rankings(tmp_path, count=24)},
        "ppo": {
            "model": model,
            "reward": str(tmp_path / "reward"),
            "data": recipe_runs.prompts(tmp_path),
            "ptx": corpus,
        },
    }[stage]
    values = {"epochs": 6, "batch_size": 4, "learning_rate": 0.01, "save_every": 3, "eval_every": 4}
    if stage == "pretrain":
        values |= {"max_length": 64, "batch_size": 2, "epochs": 2}
    if stage == "ppo":
        recipe_runs.make_reward_model(Path(model), tmp_path / "reward")
        values = {name: value for name, value in values.items() if name != "epochs"}
        values |= {"episodes": 64, "max_new_tokens": 6, "kl_target": 0.5, "max_kl": 0}

    undisturbed = start(stage, tmp_path / "whole", values, given, False)
    undisturbed.join()
    assert undisturbed.exitcode == 0
    whole = metrics(tmp_path / "whole")
    steps = len(whole)
    assert steps > 12

    draw = random.Random(stage)
    targets = sorted(draw.sample(range(1, steps - 1), KILLS))
    kills = 0
    for target in targets:
        process = start(stage, tmp_path / "killed", values, given, kills > 0)
        kills += killed_at(target, process, tmp_path / "killed", delay=draw.random() * 0.03)
    assert kills == KILLS
    last = start(stage, tmp_path / "killed", values, given, True)
    last.join()
    assert last.exitcode == 0

    assert metrics(tmp_path / "killed") == whole
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_killed_run_trains_on_the_rollouts_that_a_server_had_sampled_ahead(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    reward = recipe_runs.make_reward_model(model, tmp_path / "reward")
    given = {"model": str(model), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    with tiny_vllm(model) as server:
        values = {"episodes": 24, "batch_size": 4, "max_new_tokens": 5, "max_kl": 0, "learning_rate": 0.003}
        values |= {"save_every": 1, "eval_every": 0, "rollout_server": server.address, "rollouts_ahead": 1}
        undisturbed = start("ppo", tmp_path / "whole", values, given, False)
        undisturbed.join()
        process = start("ppo", tmp_path / "killed", values, given, False)
        assert killed_at(3, process, tmp_path / "killed", delay=0.01)
        last = start("ppo", tmp_path / "killed", values, given, True)
        last.join()
    assert (undisturbed.exitcode, last.exitcode) == (0, 0)
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert [row["rollout_staleness"] for row in metrics(tmp_path / "whole")] == [0, 1, 1, 1, 1, 1]
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(left[name], right[name]) for name in left)
