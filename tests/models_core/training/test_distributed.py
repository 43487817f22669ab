"""Two processes that torchrun starts, over gloo: the weights of one process, files and words of the first alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.contract.errors import BadInput
from models_core.training import distributed
from tests.harness.rollout_server import tiny_vllm
from tests.models_core import many, recipe_runs
from tests.models_core.recipe_runs import metrics, weights
from tests.models_core.tiny import make_tiny_model

MUON = {"parallel": "fsdp", "optimizer": "muon", "max_length": 64}
REFUSALS = {
    "qlora": "parallel=fsdp cannot split quantised weights; take parallel=ddp.",
    "ewc": "--ewc needs whole weights, which parallel=fsdp splits: take parallel=ddp.",
    "offload": "parallel=fsdp splits the reference already: leave out offload_reference, or take parallel=ddp.",
    "muon": "parallel=fsdp splits the matrices that muon needs whole: take optimizer=adamw, or ddp.",
}
PHASES = {"episodes": 16, "batch_size": 8, "max_new_tokens": 6, "learning_rate": 0.01, "max_tokens_per_forward": 64}
LOOKS = 1
"""Looks for a stop signal until the end of the first rollout iteration."""
POLICIES: dict[str, dict[str, Any]] = {
    "one-trunk": PHASES | {"value_init": "head", "kl_target": 0.5},
    "own-value": PHASES | {"value_init": "reward", "method": "full", "ppo_epochs": 2},
    "grpo": PHASES | {"algorithm": "grpo", "samples_per_prompt": 2, "kl_coef": 0.3},
    "copies": PHASES | {"value_init": "reward", "share_base_weights": "never", "reward_baseline": True},
}
"""PPO in its memory plans, all with text mixed in."""


def torchrun(*arguments: str, number: int = 2) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run below, done by two processes in one launch, and by one process here."""
    folder = tmp_path_factory.mktemp("many")
    model = str(make_tiny_model(folder / "model"))
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join(f"the cat number {n} sat on the mat." for n in range(40)), encoding="utf-8")
    common = {"learning_rate": 0.01, "max_tokens_per_forward": 64, "epochs": 2, "max_grad_norm": 0.5}
    given: dict[str, dict[str, Any]] = {
        "sft": {"model": model, "data": str(recipe_runs.demonstrations(folder))},
        "reward": {"model": model, "data": str(recipe_runs.rankings(folder))},
        "pretrain": {"model": model, "data": str(corpus)},
    }
    settings: dict[str, dict[str, Any]] = {
        "sft": common | {"batch_size": 3, "eval_every": 1},
        "reward": common | {"batch_size": 3, "eval_every": 1},
        "pretrain": common
        | {"batch_size": 4, "max_length": 64, "optimizer": "adamw", "sample_tokens": 0, "dropout": 0},
    }
    given["sft"]["evaluation"] = given["sft"]["data"]
    runs = [
        (f"{stage}-{parallel}", stage, settings[stage] | {"parallel": parallel}, given[stage])
        for stage in given
        for parallel in ("ddp", "fsdp")
    ]
    # Stopped by a signal that only the second process got, then finished by one process; and the other way about.
    halves = settings["sft"] | {"save_every": 1}
    runs.append(("two-then-one", "sft", halves | {"parallel": "fsdp"}, given["sft"] | {"stop_after": 3}))
    many.run(folder, "one-then-two", "sft", halves, given["sft"] | {"stop_after": 3})
    runs.append(("one-then-two", "sft", halves | {"parallel": "fsdp"}, given["sft"] | {"resume": True}))
    reward = str(recipe_runs.make_reward_model(Path(model), folder / "reward_model"))
    given["ppo"] = {"model": model, "reward": reward, "data": str(recipe_runs.prompts(folder)), "ptx": str(corpus)}
    given["dpo"] = given["reward"]
    settings["dpo"] = settings["reward"]
    of_policies = [(name, "ppo", values, given["ppo"]) for name, values in POLICIES.items()]
    of_policies.append(("dpo", "dpo", settings["dpo"], given["dpo"]))
    for parallel in ("ddp", "fsdp"):
        runs += [
            (f"{name}-{parallel}", stage, values | {"parallel": parallel}, files)
            for name, stage, values, files in of_policies
        ]
    # Stopped by two processes after a rollout iteration and finished by one, and the other way about.
    stopped = POLICIES["one-trunk"] | {"parallel": "fsdp"}
    runs.append(("ppo-two-then-one", "ppo", stopped, given["ppo"] | {"stop_after": LOOKS}))
    many.run(folder, "ppo-one-then-two", "ppo", POLICIES["one-trunk"], given["ppo"] | {"stop_after": 16})
    runs.append(("ppo-one-then-two", "ppo", stopped, given["ppo"] | {"resume": True}))
    old = {"replay": given["sft"]["data"], "ewc": given["sft"]["data"]}
    runs += [
        ("no-qlora", "sft", {"method": "qlora", "parallel": "fsdp"}, given["sft"] | {"refused": REFUSALS["qlora"]}),
        ("no-ewc", "sft", {"parallel": "fsdp"}, given["sft"] | old | {"refused": REFUSALS["ewc"]}),
        (
            "no-offload",
            "ppo",
            PHASES | {"parallel": "fsdp", "offload_reference": True},
            given["ppo"] | {"refused": REFUSALS["offload"]},
        ),
        ("no-muon", "pretrain", MUON, given["pretrain"] | {"refused": REFUSALS["muon"]}),
    ]
    with tiny_vllm(Path(model)) as server:
        served = PHASES | {"value_init": "head", "rollout_server": server.address, "rollouts_ahead": 1}
        runs.append(("served-two", "ppo", served | {"parallel": "fsdp"}, given["ppo"]))
        (folder / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
        done = torchrun("tests.models_core.many", str(folder))
        assert done.returncode == 0, done.stderr[-3000:]
        many.run(folder, "served-one", "ppo", served, given["ppo"])
    (folder / "said.txt").write_text(done.stderr, encoding="utf-8")
    for stage in ("sft", "reward", "pretrain"):
        many.run(folder, f"{stage}-one", stage, settings[stage], given[stage])
    for name, stage, values, files in of_policies:
        many.run(folder, f"{name}-one", stage, values, files)
    many.run(folder, "two-then-one", "sft", halves, given["sft"] | {"resume": True})
    many.run(folder, "ppo-two-then-one", "ppo", POLICIES["one-trunk"], given["ppo"] | {"resume": True})
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("stage", ["sft", "reward", "pretrain"])
def test_two_processes_give_the_weights_of_one(stage: str, parallel: str, folder: Path) -> None:
    one, two = weights(folder / f"{stage}-one"), weights(folder / f"{stage}-{parallel}")
    assert one.keys() == two.keys()
    # The head is fitted to states that a split trunk computes in another order.
    atol = 2e-5 if (stage, parallel) == ("reward", "fsdp") else 1e-5
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def test_two_processes_train_on_the_rollouts_that_the_first_one_is_sent(folder: Path) -> None:
    one, two = weights(folder / "served-one"), weights(folder / "served-two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for name in ("served-one", "served-two"):
        assert [row["rollout_staleness"] for row in metrics(folder / name) if "kl" in row] == [0, 1]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("stage", ["sft", "reward", "pretrain"])
def test_two_processes_tell_the_metrics_of_one(stage: str, parallel: str, folder: Path) -> None:
    one, two = metrics(folder / f"{stage}-one"), metrics(folder / f"{stage}-{parallel}")
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", [*POLICIES, "dpo"])
def test_two_processes_make_the_policy_of_one_from_the_same_episodes(name: str, parallel: str, folder: Path) -> None:
    one, two = weights(folder / f"{name}-one"), weights(folder / f"{name}-{parallel}")
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=0, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    rows = [metrics(folder / f"{name}-{kind}") for kind in ("one", parallel)]
    assert len(rows[0]) > 1
    for left, right in zip(*rows, strict=True):
        assert left.keys() == right.keys()
        for key, value in left.items():
            # A token on the border of the clipped range counts in one and not in the other.
            near = 0.03 if key.endswith("clip_fraction") else 1e-4
            assert value == pytest.approx(right[key], abs=near), key


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("two-then-one", "sft-one"), ("one-then-two", "sft-one"), ("ppo-two-then-one", "one-trunk-one"),
        ("ppo-one-then-two", "one-trunk-one"),
    ],
)  # fmt: skip
def test_a_run_goes_on_in_another_number_of_processes(name: str, whole: str, folder: Path) -> None:
    one, both = weights(folder / whole), weights(folder / name)
    for key, tensor in one.items():
        torch.testing.assert_close(both[key], tensor, rtol=0, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", list(REFUSALS))
def test_what_cannot_be_split_is_refused_by_all_processes_and_nothing_is_written(name: str, folder: Path) -> None:
    for rank in range(2):
        assert (folder / f"no-{name}-{rank}.refused").read_text(encoding="utf-8") == REFUSALS[name]
    assert not (folder / f"no-{name}").exists()


@pytest.mark.long
def test_a_refusal_of_many_processes_is_one_line_and_status_2(folder: Path) -> None:
    given = ["--data", str(folder / "corpus.txt"), "--out", str(folder / "refused"), "--device", "cpu"]
    settings = [f"--set={name}={value}" for name, value in (MUON | {"processes": 2, "precision": "fp32"}).items()]
    done = subprocess.run(
        [sys.executable, "-m", "models_core", "pretrain", *given, *settings],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", REFUSALS["muon"])
    assert not (folder / "refused").exists()


def test_gradients_are_summed_over_parts_and_processes_in_fp32(folder: Path) -> None:
    """Each process adds 256 + 1 + 1 in parts: in bf16 it would be 256. What nobody used has no gradient."""
    step = {
        "rounded": [[516.0] * 3] * 2,
        "exact": [12.0] * 3,
        "second_alone": [1.0] * 2,
        "second_alone_exact": [3.0] * 2,
        "idle": None,
        "idle_exact": None,
    }
    for rank in range(2):
        assert json.loads((folder / f"sums-{rank}.json").read_text(encoding="utf-8")) == [step, step]


def test_what_is_saved_of_a_split_model_is_whole_in_the_first_process_and_nowhere_else(folder: Path) -> None:
    first, second = (json.loads((folder / f"saved-{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
    split = set(first["split"])
    assert split == set(second["split"]) == {name for name in first["whole"] if ".layers." in name}
    assert first["same"]
    assert all(first["whole"].values())
    assert {name.removesuffix(".master") for name in second["masters"]} == set(second["whole"]) - split
    assert {name for name, size in second["sizes"].items() if not size} == split


def test_only_the_first_process_speaks(folder: Path) -> None:
    said = (folder / "said.txt").read_text(encoding="utf-8")
    assert said.count("step 1/") == 19  # seventeen whole runs and the first parts of two that are stopped


def test_rows_are_shared_out_by_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [5, 9, 1, 3]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert distributed.micro_batches_for_rank(lengths, budget=9) == [([1], 1.0, True)]
    monkeypatch.setenv("RANK", "1")
    assert distributed.micro_batches_for_rank(lengths, budget=9) == [([0, 3, 2], 1.0, True)]


def test_a_process_without_rows_computes_some_that_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        found.append(distributed.micro_batches_for_rank([4, 2], budget=100))
    assert found == [[([0], 1.0, True)], [([1], 1.0, True)], [([1], 0.0, True)]]


def command(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The command line asked for two processes, on a run that takes for ever."""
    given = ["--model", str(folder / "model"), "--data", str(folder / "demonstrations.jsonl"), "--device", "cpu"]
    settings = {"processes": 2, "epochs": 1000, "batch_size": 2, "precision": "fp32", "held_out": 0, "save_every": 5}
    line = [sys.executable, "-m", "models_core", "sft", *given, "--out", str(folder / "long"), *options]
    return subprocess.Popen(
        [*line, *(f"--set={name}={value}" for name, value in settings.items())],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(process_id: int) -> list[int]:
    text = Path(f"/proc/{process_id}/task/{process_id}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


@pytest.mark.long
def test_sigterm_stops_all_processes_with_a_checkpoint_and_a_death_ends_them_all(folder: Path) -> None:
    first = command(folder)
    assert first.stderr is not None
    next(line for line in first.stderr if line.startswith("step 1"))
    workers = children_of(first.pid)
    assert len(workers) == 2
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=120)[1]
    assert first.returncode == 3, said
    assert "Stopped after step" in said.strip().splitlines()[-1]
    assert list((folder / "long" / "checkpoints").glob("step-*"))

    second = command(folder, "--resume")
    assert second.stderr is not None
    next(line for line in second.stderr if line.startswith("step "))
    workers = children_of(second.pid)
    ranks = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in workers}
    os.kill(next(pid for pid, variables in ranks.items() if b"RANK=1" in variables), signal.SIGKILL)
    said = second.communicate(timeout=120)[1]
    assert second.returncode == 137
    assert (
        said.strip().splitlines()[-1].endswith("process of this run died; --resume goes on from the last checkpoint.")
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_more_processes_than_gpus_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadInput, match="Each process needs a GPU of its own, and 1 can be seen here"):
        distributed.join(torch.device("cuda"))
