"""Evaluations of PPO whose responses a rollout server samples: by the weights of that moment, or in this process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.harness.rollout_server import TinyVLLM, refuses, tiny_vllm
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run, weights
from tests.models_core.tiny import make_tiny_model

RUN: dict[str, Any] = {
    "episodes": 16, "batch_size": 8, "samples_per_prompt": 2, "max_new_tokens": 5, "learning_rate": 0.05,
    "max_kl": 0, "held_out": 0, "eval_every": 1, "server_retries": 0, "server_timeout": 20.0,
    "load_best_at_end": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def server(base: Path) -> Iterator[TinyVLLM]:
    with tiny_vllm(base) as found:
        yield found


@pytest.fixture(scope="module")
def alone(base: Path, reward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without a server."""
    folder = tmp_path_factory.mktemp("alone")
    run("ppo", folder / "run", RUN, model=str(base), reward=str(reward), data=recipe_runs.prompts(folder))
    return folder / "run"


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def evaluations(server: TinyVLLM) -> list[dict[str, Any]]:
    """Requests for one response."""
    return [body for body in server.bodies("/v1/completions") if body["n"] == 1]


def note(folder: Path) -> str | None:
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]["rollout_server_note"]
    return found if found is None else str(found)


def test_an_evaluation_is_sampled_by_the_weights_that_would_be_saved(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address}, **given)
    asked, rows = evaluations(server), samples(tmp_path / "run")
    count = len(rows) // 3
    assert [row["step"] for row in rows] == [step for step in range(3) for _ in range(count)]
    assert len(asked) == 3 * count
    # The adapter before the first step, and the moving average after each; the last iteration's own is another.
    names = list(dict.fromkeys(body["model"] for body in asked))
    assert [body["model"] for body in asked] == [name for name in names for _ in range(count)]
    assert len(names) == 3
    rollouts = [body["model"] for body in server.bodies("/v1/completions") if body["n"] == 2]
    assert rollouts[0] == names[0]
    assert rollouts[-1] not in names
    # The same random numbers every time.
    assert {body["seed"] for body in asked[:count]} == {body["seed"] for body in asked[-count:]}
    assert note(tmp_path / "run") is None
    assert not (tmp_path / "run" / "rollout_weights").exists()
    unloaded = [body["lora_name"] for body in server.bodies("/v1/unload_lora_adapter")]
    assert set(names) <= set(unloaded)


def test_whole_weights_are_reloaded_before_an_evaluation(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    values = RUN | {"method": "full", "learning_rate": 0.003, "rollout_server": server.address}
    run("ppo", tmp_path / "run", values, **given)
    assert len(evaluations(server)) == len(samples(tmp_path / "run"))
    assert note(tmp_path / "run") is None
    folders = [Path(body["kwargs"]["weights_path"]).name for body in server.bodies("/collective_rpc")]
    assert [folder.rsplit("-", 1)[1] for folder in folders] == ["0", "0", "1", "1", "2"]


def refuses_evaluations(server: TinyVLLM) -> None:
    server.faults["/v1/completions"] = lambda handler, body: body["n"] == 1 and refuses(500)(handler, body)


def others_sample_evaluations(server: TinyVLLM) -> None:
    def edit(reply: dict[str, Any]) -> None:
        if len(reply["choices"]) == 1:
            choice = reply["choices"][0]
            choice["logprobs"].update(token_logprobs=[-0.1] * len(choice["token_ids"]))

    server.edit = edit


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (refuses_evaluations, "answered with status 500"),
        (others_sample_evaluations, "samples from other weights than it was given"),
    ],
    ids=["refuses", "others"],
)
def test_an_evaluation_that_fails_there_is_made_here(
    spoil: Callable[[TinyVLLM], None],
    words: str,
    given: dict[str, Any],
    server: TinyVLLM,
    alone: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With the very tokens of a run without a server; iterations are sampled there all the same."""
    spoil(server)
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address}, **given)
    assert [row["response"] for row in samples(tmp_path / "run")[:3]] == [row["response"] for row in samples(alone)[:3]]
    assert [row["served_rollouts"] for row in metrics(tmp_path / "run") if "served_rollouts" in row] == [1.0, 1.0]
    said = note(tmp_path / "run")
    assert said is not None
    assert words in said
    assert said.endswith("The evaluation after iteration 2 was sampled in this process.")
    assert said in capfd.readouterr().err


def test_a_server_that_is_left_alone_is_not_asked_for_evaluations(
    given: dict[str, Any], server: TinyVLLM, alone: Path, tmp_path: Path
) -> None:
    looks: list[int] = []

    def absent(handler: Any, body: dict[str, Any]) -> bool:
        looks.append(1)
        return refuses(503)(handler, body)

    server.faults["/v1/models"] = absent
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address}, **given)
    # Before the first iteration, for it, after it, and for the second; after that the server is left alone until 4.
    assert len(looks) == 4
    left, right = weights(alone), weights(tmp_path / "run")
    assert all(torch.equal(left[name], right[name]) for name in left)
