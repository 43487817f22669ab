"""`python -m benchmarks gpu` at tiny size on the CPU, and what it counts and demands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from benchmarks.gpu import cards, child_parts, command, correctness, inputs, training_speed
from benchmarks.gpu.cards import Card
from benchmarks.gpu.child_parts import Ended
from benchmarks.gpu.inputs import LARGE, TINY
from benchmarks.gpu.rows import Bench, Row
from models_core.modeling.operators import without_kernels

ROOT = Path(__file__).resolve().parents[2]
CPU = Card(device="cpu", name="cpu", count=0, memory=0, torch=torch.__version__, peak_flops=None, bandwidth=None)


@pytest.fixture
def bench(tmp_path):
    made = Bench(card=CPU, folder=tmp_path, is_tiny=True, peer=None)
    inputs.make_model(Path(made.tiny), TINY, device="cpu", dtype=torch.float32)
    return made


def test_the_whole_script_runs_at_tiny_size():
    parts = ["greedy", "resume", "nccl", "sft", "reward_4", "decode", "ppo"]
    line = [
        sys.executable,
        "-m",
        "benchmarks",
        "gpu",
        "--device",
        "cpu",
        "--tiny",
        "--minutes",
        "10",
        "--parts",
        *parts,
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    found = json.loads(last)
    assert found["not_reached"] == []
    assert found["passes"] is True
    figures = {row["what"]: row for row in found["rows"]}
    assert {row["part"] for row in found["rows"]} == {"models", *parts}
    assert figures["weights that a stop and a resume change"]["value"] == 0
    assert figures["two processes by NCCL: weights, fp32"]["note"] == "skipped: no card"
    assert figures["sft: share of peak flops"]["note"].startswith("no card; ")
    for name in ("sft: speed", "reward, K=4: speed", "ppo, lora: speed", "ppo, full: speed"):
        assert figures[name]["value"] > 0
    assert len(table) == 2 + len(figures)


def test_recipes_are_held_against_the_cpu_in_fp32(bench, monkeypatch):
    monkeypatch.setattr(correctness, "SETTINGS", {"sft": correctness.SETTINGS["sft"]})
    with without_kernels():
        weights, metrics = correctness.recipes(bench, 60.0)
    assert (weights.passes, metrics.passes) == (True, True)
    assert weights.value > 1e-5  # in bf16 they are not the same


@pytest.mark.parametrize(("worst", "status"), [(1e-5, 0), (2e-4, 1), (float("nan"), 1)])
def test_a_limit_that_is_exceeded_fails_the_whole_and_a_goal_does_not(bench, capsys, monkeypatch, worst, status):
    def found(bench, seconds):
        yield Row(what="goal", value=0.1, goal=0.4)
        yield Row(what="unknown", note="skipped")
        yield Row(what="limit", value=worst, limit=1e-4)

    monkeypatch.setitem(command.PARTS, "recipes", command.Part(run=found, share=1.0, is_check=True))
    monkeypatch.setitem(command.PARTS, "sft", command.Part(run=found_speed, share=1.0))
    report = command.Report(bench, minutes=1.0)
    report.add("recipes", seconds=30.0)
    report.add("sft", seconds=30.0)
    assert report.close() == status
    assert "sft       not reached: ValueError: no such card\n" in capsys.readouterr().out
    assert [row["passes"] for row in report.rows] == [False, None, not status, None]


def test_a_check_without_time_fails_the_whole(bench):
    report = command.Report(bench, minutes=1.0)
    report.add("recipes", seconds=1.0)
    assert report.close() == 1
    assert report.not_reached == [{"part": "recipes", "reason": "not begun: 1.0 s were left"}]


def found_speed(bench, seconds):
    yield Row(what="speed", value=2.0, unit="tokens/s")
    raise ValueError("no such card\nof many lines")


def test_a_part_that_hangs_is_ended_with_what_it_started(tmp_path):
    def hanging():
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        yield child.pid
        child.wait()

    pid, ended = child_parts.follow(hanging, seconds=2.0)
    assert ended.reason == "out of time after 2 s"
    assert 2.0 <= ended.seconds < 10.0
    # Nobody waits for it, so it may be left as a zombie; it runs no more.
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "\nState:\tZ" in status.read_text()


def test_a_part_that_dies_is_named():
    def dying():
        yield 1
        os._exit(7)

    found, ended = child_parts.follow(dying, seconds=30.0)
    assert found == 1
    assert isinstance(ended, Ended)
    assert ended.reason == "its process ended with 7"


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_cards_are_known_by_their_names(name, flops):
    known = cards.peaks(name)
    assert (known[0] if known else None) == flops


def test_flops_are_those_that_torch_counts(bench):
    """Of a forward pass over a row whose last tokens are predicted; torch counts the whole square of attention."""
    model = AutoModelForCausalLM.from_pretrained(bench.tiny, attn_implementation="eager")
    length, predicted = 40, 7
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.arange(3, length + 3)[None], logits_to_keep=predicted)
    other_half = 2.0 * TINY.layers * TINY.width * length**2
    expected = training_speed.flops(TINY, [length], predicted) / 3 + other_half
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-9)


def test_the_large_model_has_the_size_that_is_said():
    with torch.device("meta"):
        model = LlamaForCausalLM(inputs.configured(LARGE, inputs.make_tokenizer(LARGE.vocabulary)))
    norms = LARGE.width * (2 * LARGE.layers + 1)
    assert sum(each.numel() for each in model.parameters()) == LARGE.parameters + norms
    assert round(LARGE.parameters / 1e9, 2) == 1.22


def test_differences_are_beside_the_size():
    ones = {"a": torch.ones(3), "b": torch.ones(1)}
    assert correctness.weight_difference({"a": torch.ones(3), "b": torch.tensor([1.2])}, ones) == pytest.approx(0.1)
    assert correctness.weight_difference({"a": torch.ones(3)}, ones) == float("inf")
    assert correctness.step_difference([{"loss": 8.0, "kl": 0.1}], [{"loss": 10.0, "kl": 0.2}]) == pytest.approx(0.2)
    assert correctness.step_difference([{"loss": 8.0}], [{"loss": 8.0}, {"loss": 8.0}]) == float("inf")


def test_the_peer_is_asked_for_as_many_episodes(bench, monkeypatch, tmp_path):
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, os, sys\nprint(json.dumps({'seconds': 8.0}))\n"
        "assert (sys.argv[6], os.environ['CUDA_VISIBLE_DEVICES']) == ('16', '2')\n"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(training_speed, "PPO_SCRIPT", script)
    speed = training_speed._peer(bench, sys.executable, tmp_path / "prompts.jsonl", tmp_path / "out", seconds=30.0)
    assert speed == 2.0
