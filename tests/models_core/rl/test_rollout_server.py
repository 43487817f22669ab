"""PPO whose rollouts a server samples: by the weights of now and by token ids, and without it where it fails."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.contract.errors import BadInput
from models_core.generation.generate import Sample
from models_core.recipes import ppo
from models_core.rl import rollouts
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.rollout_server.sampler import RolloutSampler
from models_core.rl.rollout_server.vllm_client import UnusableRollouts, read_samples
from tests.harness.rollout_server import TinyVLLM, hangs_up, refuses, says_nothing, tiny_vllm
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run, weights
from tests.models_core.tiny import make_tiny_model

RUN: dict[str, Any] = {
    "episodes": 24, "batch_size": 8, "samples_per_prompt": 2, "max_new_tokens": 5, "learning_rate": 0.003,
    "max_kl": 0, "held_out": 0, "eval_every": 0, "server_retries": 0, "server_timeout": 20.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(autouse=True)
def _evaluations_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked here is asked for an iteration; evaluations are those of test_served_evaluation."""
    monkeypatch.setattr(
        RolloutSampler,
        "evaluation",
        lambda self, prompts, *, step, seed: rollouts.sample_policy(
            self.actor_critic, prompts, seed=seed, stop=self.stop
        ),
    )


@pytest.fixture
def server(base: Path) -> Iterator[TinyVLLM]:
    with tiny_vllm(base) as found:
        yield found


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"])


def served(folder: Path) -> list[float]:
    return [row["served_rollouts"] for row in metrics(folder)]


# ---- a server that does what it is asked -----------------------------------------------------------------------------


def test_each_iteration_is_sampled_by_the_adapter_of_now(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address, "temperature": 0.8}, **given)
    assert served(tmp_path / "run") == [1.0, 1.0, 1.0]
    for row in metrics(tmp_path / "run"):
        assert row["rollout_staleness"] == 0
        assert 0 < row["sampler_error"] < 1e-4
        assert row["first_ratio_error"] < 1e-4
        assert "importance_weight" not in row  # the server's log-probabilities are the policy's own
    loads = server.bodies("/v1/load_lora_adapter")
    names = [body["lora_name"] for body in loads]
    assert len(set(names)) == 3
    assert [body["model"] for body in server.bodies("/v1/completions")] == [name for name in names for _ in range(4)]
    assert [body["lora_name"] for body in server.bodies("/v1/unload_lora_adapter")] == names
    body = server.bodies("/v1/completions")[0]
    wanted = {"n": 2, "max_tokens": 5, "temperature": 0.8, "top_p": 1.0, "top_k": 0, "return_token_ids": True}
    assert body | wanted == body
    assert body["ignore_eos"]
    assert all(isinstance(token, int) for token in body["prompt"])
    assert not (tmp_path / "run" / "rollout_weights").exists()
    assert result(tmp_path / "run")["served_iterations"] == 3
    assert result(tmp_path / "run")["rollout_server_note"] is None


def test_whole_weights_are_reloaded_and_what_was_computed_with_others_forgotten(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "mounted"
    elsewhere.symlink_to(tmp_path / "run")
    values = RUN | {"method": "full", "rollout_server": server.address, "rollout_server_folder": str(elsewhere)}
    run("ppo", tmp_path / "run", values, **given)
    assert served(tmp_path / "run") == [1.0, 1.0, 1.0]
    assert all(row["sampler_error"] < 1e-4 for row in metrics(tmp_path / "run"))
    folders = [Path(body["kwargs"]["weights_path"]) for body in server.bodies("/collective_rpc")]
    assert [folder.parent.parent for folder in folders] == [elsewhere] * 3
    paths = [path for path in server.paths() if path != "/v1/completions"]
    assert paths == ["/v1/models", "/collective_rpc", "/reset_prefix_cache"] * 3


def test_equal_log_probabilities_stand_in_for_a_forward_pass(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    plain = ActorCritic.log_probs_and_values
    monkeypatch.setattr(
        ActorCritic, "log_probs_and_values", lambda self, packed: passes.append(1) or plain(self, packed)
    )
    values = RUN | {"algorithm": "rloo", "minibatches": 1, "rollout_server": server.address}
    ended = run("ppo", tmp_path / "run", values, **given)
    assert len(passes) == 0
    assert ended["sampler_log_probs"] == "reused"
    assert all(row["first_ratio_error"] < 1e-4 for row in metrics(tmp_path / "run"))


def test_small_differences_become_importance_weights(given: dict[str, Any], server: TinyVLLM, tmp_path: Path) -> None:
    """As of a server that computes in another precision."""

    def shift(reply: dict[str, Any]) -> None:
        for choice in reply["choices"]:
            noted = choice["logprobs"]["token_logprobs"]
            choice["logprobs"]["token_logprobs"] = [value - 0.1 for value in noted]

    server.edit = shift
    ended = run("ppo", tmp_path / "run", RUN | {"algorithm": "rloo", "rollout_server": server.address}, **given)
    for row in metrics(tmp_path / "run"):
        assert row["importance_weight"] == pytest.approx(torch.tensor(0.1).exp().item(), abs=1e-3)
        assert row["truncated_weights"] == 0
        assert row["sampler_bias"] == pytest.approx(0.1, abs=1e-3)
    assert ended["sampler_log_probs"] == "recomputed"


# ---- a server that does not ------------------------------------------------------------------------------------------


def each_choice(change: Callable[[dict[str, Any]], Any]) -> Callable[[TinyVLLM], None]:
    def spoil(server: TinyVLLM) -> None:
        server.edit = lambda reply: [change(choice) for choice in reply["choices"]]

    return spoil


def at(path: str, fault: Any) -> Callable[[TinyVLLM], None]:
    return lambda server: server.faults.update({path: fault})


def gone(server: TinyVLLM) -> None:
    server.server_close()


def fewer(server: TinyVLLM) -> None:
    server.edit = lambda reply: reply["choices"].pop()


FAULTS: dict[str, tuple[Callable[[TinyVLLM], None], str]] = {
    "no such endpoint": (at("/v1/load_lora_adapter", refuses(404, "Not Found")), "refuses with status 404: Not Found"),
    "cannot load": (at("/v1/load_lora_adapter", refuses(400, "rank 16 is above 8")), "rank 16 is above 8"),
    "errors": (at("/v1/completions", refuses(500)), "was asked once and answered with status 500"),
    "hangs up": (at("/v1/completions", hangs_up), "was asked once and broke off"),
    "slow": (at("/v1/completions", says_nothing), "did not answer within"),
    "gone": (gone, "was asked once and broke off"),
    "fewer": (fewer, "sent 1 responses to a prompt where 2 were asked for"),
    "others' log-probabilities": (
        each_choice(lambda choice: choice["logprobs"].update(token_logprobs=[-0.1] * len(choice["token_ids"]))),
        "samples from other weights than it was given",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(base: Path, reward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without a server."""
    folder = tmp_path_factory.mktemp("alone")
    data = recipe_runs.prompts(folder)
    run("ppo", folder / "run", RUN, model=str(base), reward=str(reward), data=data)
    return folder / "run"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_costs_no_rollouts(
    fault: str, given: dict[str, Any], server: TinyVLLM, alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run is the one without a server, bit for bit, and says why."""
    spoil, words = FAULTS[fault]
    spoil(server)
    values = RUN | {"rollout_server": server.address} | ({"server_timeout": 0.3} if fault == "slow" else {})
    run("ppo", tmp_path / "run", values, **given)
    left, right = weights(alone), weights(tmp_path / "run")
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert served(tmp_path / "run") == [0.0, 0.0, 0.0]
    note = result(tmp_path / "run")["rollout_server_note"]
    assert words in note
    assert note.endswith("Iteration 2 was sampled in this process.")  # the third is left to itself
    assert f"{note} The server is asked again for iteration 4." in capfd.readouterr().err
    assert result(tmp_path / "run")["served_iterations"] == 0


def reply(**changes: Any) -> dict[str, Any]:
    """Of one response to the prompt 7, 8, with 2 as the stop token and at most 3 new tokens."""
    logprobs = {"tokens": ["token_id:5", "token_id:2"], "token_logprobs": [-0.5, -1.25]}
    choice = {"index": 0, "token_ids": [5, 2], "prompt_token_ids": [7, 8], "logprobs": logprobs}
    return {"model": "m", "choices": [choice | changes]}


def read(row: dict[str, Any]) -> list[Sample]:
    return read_samples(
        row, server="S", model="m", prompt=[7, 8], samples=1, stop_ids=(2, 3), vocabulary=9, max_new_tokens=3
    )


def noted(*values: Any, tokens: Any = ()) -> dict[str, Any]:
    return {"tokens": list(tokens), "token_logprobs": list(values)}


def test_tokens_are_those_of_the_server() -> None:
    assert read(reply()) == [Sample(ids=(5, 2), logprobs=(-0.5, -1.25), finish_reason="stop")]
    assert read(reply(token_ids=None))[0].ids == (5, 2)  # vLLM before 0.10.2 names them in logprobs alone
    cut = reply(token_ids=[5, 5, 1], logprobs=noted(-1, -1, -1))
    assert read(cut) == [Sample(ids=(5, 5, 1), logprobs=(-1.0, -1.0, -1.0), finish_reason="length")]


BAD_REPLIES: dict[str, tuple[dict[str, Any], str]] = {
    "other model": (reply() | {"model": "base"}, "answered as base where m was asked"),
    "fewer": (reply() | {"choices": []}, "sent 0 responses to a prompt where 1 were asked for"),
    "other prompt": (reply(prompt_token_ids=[8]), "sampled from another prompt"),
    "no log-probabilities": (reply(logprobs=None), "sent no log-probabilities"),
    "no ids": (reply(token_ids=None, logprobs=noted(-1, tokens=["a"])), "sent no token ids"),
    "too large": (reply(token_ids=[9, 2], logprobs=noted(-1, -1)), "sent token ids that are not the policy's"),
    "no integers": (reply(token_ids=["5", 2], logprobs=noted(-1, -1)), "sent token ids that are not the policy's"),
    "two names": (reply(token_ids=[4, 2]), "sent token ids that are not the policy's"),
    "null": (reply(logprobs=noted(-1, None)), "log-probabilities that are not one number for each token"),
    "too few": (reply(logprobs=noted(-1)), "log-probabilities that are not one number for each token"),
    "positive": (reply(logprobs=noted(0.5, -1)), "log-probabilities that are not one number for each token"),
    "infinite": (reply(logprobs=noted(float("-inf"), -1)), "log-probabilities that are not one number for each token"),
    "cut": (reply(token_ids=[5, 4], logprobs=noted(-1, -1)), "neither at a stop token nor at max_new_tokens"),
    "after its end": (reply(token_ids=[2, 2], logprobs=noted(-1, -1)), "neither at a stop token nor"),
    "too long": (reply(token_ids=[5, 5, 5, 2], logprobs=noted(-1, -1, -1, -1)), "neither at a stop token nor"),
}


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_a_reply_that_is_not_what_was_asked_for_is_not_trained_on(name: str) -> None:
    row, words = BAD_REPLIES[name]
    with pytest.raises(UnusableRollouts, match=f"^The server S .*{words}"):
        read(row)


def test_an_adapter_that_is_taken_and_not_used_is_noticed(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    server.is_stale = True
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address, "learning_rate": 0.1}, **given)
    assert served(tmp_path / "run") == [1.0, 0.0, 0.0]  # LoRA begins at the base model
    assert "samples from other weights than it was given" in result(tmp_path / "run")["rollout_server_note"]


def test_a_server_that_comes_back_samples_again(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    looks = []

    def absent_once(handler: Any, body: dict[str, Any]) -> bool:
        looks.append(1)
        return len(looks) == 1 and refuses(503)(handler, body)

    server.faults["/v1/models"] = absent_once
    run("ppo", tmp_path / "run", RUN | {"rollout_server": server.address}, **given)
    assert served(tmp_path / "run") == [0.0, 1.0, 1.0]
    assert f"The server {server.address} samples again, from iteration 2 on." in capfd.readouterr().err


# ---- ahead -----------------------------------------------------------------------------------------------------------


def test_the_next_iteration_is_sampled_while_this_one_trains(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers for iteration 2 only once iteration 1 has been trained on."""
    updates = []
    plain = ppo.ppo_update

    def update(*arguments: Any, **more: Any) -> Any:
        assert server.sampling.wait(20)
        updates.append(len(server.bodies("/v1/completions")))
        found = plain(*arguments, **more)
        server.gate.set()
        return found

    def hold(reply: dict[str, Any]) -> None:
        if len(server.bodies("/v1/completions")) == 4:  # the first iteration's prompts
            server.gate.clear()
            server.sampling.clear()

    server.edit = hold
    monkeypatch.setattr(ppo, "ppo_update", update)
    values = RUN | {"rollout_server": server.address, "rollouts_ahead": 1, "server_requests": 1, "ppo_epochs": 2}
    run("ppo", tmp_path / "run", values | {"learning_rate": 0.02}, **given)
    assert updates[0] == 5  # the request that waits at the gate
    rows = metrics(tmp_path / "run")
    assert [row["rollout_staleness"] for row in rows] == [0, 1, 1]
    assert "importance_weight" not in rows[0]
    assert all(0.8 < row["importance_weight"] < 1.25 and row["importance_weight"] != 1 for row in rows[1:])
    names = list(dict.fromkeys(body["model"] for body in server.bodies("/v1/completions")))
    # Iterations 1 and 2 are by the weights of the start, iteration 3 by those after the first.
    assert [body["model"] for body in server.bodies("/v1/completions")] == [names[0]] * 8 + [names[1]] * 4


def test_what_fails_ahead_is_sampled_here_with_the_weights_of_now(
    given: dict[str, Any], server: TinyVLLM, tmp_path: Path
) -> None:
    def second(handler: Any, body: dict[str, Any]) -> bool:
        return len(server.bodies("/v1/completions")) == 5 and refuses(500)(handler, body)

    server.faults["/v1/completions"] = second
    values = RUN | {"rollout_server": server.address, "rollouts_ahead": 1, "server_requests": 1}
    run("ppo", tmp_path / "run", values, **given)
    assert served(tmp_path / "run") == [1.0, 0.0, 1.0]


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rollouts_ahead": 1}, "give rollout_server too"),
        ({"rollout_server": "http://h/v1", "method": "prefix"}, "cannot load what method=prefix trains"),
        ({"rollout_server": "h:8000"}, "looks like http://host:8000/v1"),
    ],
)
def test_what_no_server_can_do_is_refused(
    values: dict[str, Any], words: str, given: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words):
        run("ppo", tmp_path / "run", RUN | values, **given)
    assert not (tmp_path / "run").exists()


def test_another_address_goes_on_with_a_run(given: dict[str, Any], server: TinyVLLM, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        values = RUN | {"save_every": 1, "rollout_server": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"}
        with pytest.raises(Exception, match="Stopped after step 2"):
            run("ppo", tmp_path / "run", values, stop=StopAfterTwo(tmp_path / "run"), **given)
    run("ppo", tmp_path / "run", values | {"rollout_server": server.address}, resume=True, **given)
    assert served(tmp_path / "run") == [0.0, 0.0, 0.0]


class StopAfterTwo(recipe_runs.StopAfter):
    """A stop request once two iterations are done."""

    def __init__(self, folder: Path) -> None:
        super().__init__(0)
        self.folder = folder

    @property
    def requested(self) -> bool:  # type: ignore[override]
        return (self.folder / "metrics.jsonl").exists() and len(metrics(self.folder)) >= 2
