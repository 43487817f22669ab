"""Whether a device computes what the CPU computes, on a tiny model."""

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu import recipe_runs
from benchmarks.gpu.inputs import Writer
from benchmarks.gpu.rows import Bench, Row
from models_core.generation import generate
from models_core.generation.static_steps import step_runner
from models_core.modeling import loading

LIMITS = {"fp32": 1e-4, "bf16": 5e-2}
"""By the precision of the device: relative difference from the CPU in fp32."""
OTHER_TOKENS = 0.1
"""Of PPO's weights in bf16, whose rounding draws other tokens: that nothing is out of hand."""
TIE = 1e-3
"""Two logits this near may change places by rounding: what follows is another response, and no error."""
SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain": {
        "vocab_size": 300, "layers": 2, "width": 32, "heads": 2, "max_length": 64, "batch_size": 4, "dropout": 0,
        "sample_tokens": 0, "documents": "blocks",
    },
    "sft": {"batch_size": 4, "learning_rate": 5e-3},
    "reward": {"batch_size": 4, "learning_rate": 5e-3},
    "dpo": {"batch_size": 4, "learning_rate": 5e-3},
    "ppo": {
        "episodes": 8, "batch_size": 4, "max_new_tokens": 12, "reward_train_overlap": "keep", "minibatches": 1,
        "learning_rate": 5e-3, "max_kl": 0, "min_entropy": 0, "min_length": 0, "zero_variance_patience": 0,
    },
}  # fmt: skip
"""Two steps of each stage, on the data of `_data`."""
COMMON: dict[str, Any] = {"held_out": 0, "save_every": 0, "warmup_ratio": 0}
ONE_PASS = {"epochs": 1}


def recipes(bench: Bench, seconds: float) -> Iterator[Row]:
    """Each recipe for two steps: on the CPU in fp32, then on the device in fp32 and in bf16."""
    given = _data(bench, bench.folder / "recipes")
    for stage in SETTINGS:
        expected = bench.folder / "recipes" / f"{stage}-cpu-fp32"
        recipe_runs.run(stage, expected, _values(stage, "fp32"), device="cpu", **given[stage])
        for precision in LIMITS:
            if (bench.device, precision) == ("cpu", "fp32"):
                continue  # that is what the others are compared with
            found = bench.folder / "recipes" / f"{stage}-{precision}"
            recipe_runs.run(stage, found, _values(stage, precision), device=bench.device, **given[stage])
            draws_others = (stage, precision) == ("ppo", "bf16")
            limit = OTHER_TOKENS if draws_others else LIMITS[precision]
            name = f"{stage}, {precision}"
            apart = weight_difference(recipe_runs.weights(found), recipe_runs.weights(expected))
            yield Row(what=f"{name}: weights after two steps", value=apart, unit="relative", limit=limit)
            if draws_others:
                yield Row(what=f"{name}: metrics", note="not compared: rounding draws other tokens")
                continue
            worst = step_difference(recipe_runs.steps(found), recipe_runs.steps(expected))
            yield Row(what=f"{name}: metrics of two steps", value=worst, unit="relative", limit=limit)


def _values(stage: str, precision: str) -> dict[str, Any]:
    passes = {} if stage == "ppo" else ONE_PASS
    return {**COMMON, **passes, **SETTINGS[stage], "precision": precision}


def _data(bench: Bench, folder: Path) -> dict[str, dict[str, Any]]:
    """What each stage is given, eight rows each; PPO's reward model is the one that `reward` makes on the CPU."""
    folder.mkdir()
    writer = Writer(folder)
    rankings = writer.rankings(8, length=16, response=12, responses=3)
    return {
        "pretrain": {"data": writer.corpus(8, length=60)},
        "sft": {"model": bench.tiny, "data": writer.demonstrations(8, length=16, response=12)},
        "reward": {"model": bench.tiny, "data": rankings},
        "dpo": {"model": bench.tiny, "data": rankings},
        "ppo": {
            "model": bench.tiny,
            "reward": str(folder / "reward-cpu-fp32" / "model"),
            "data": writer.prompts(8, length=16),
        },
    }


def weight_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """How far weights are apart, beside their size; infinite where they are not the same matrices."""
    if set(found) != set(expected):
        return math.inf
    apart = sum(float((found[name] - expected[name]).square().sum()) for name in expected)
    return math.sqrt(apart / sum(float(each.square().sum()) for each in expected.values()))


def step_difference(found: Sequence[Mapping[str, float]], expected: Sequence[Mapping[str, float]]) -> float:
    """The largest difference of any metric of any step, beside its size or 1; infinite where steps are missing."""
    if [set(row) for row in found] != [set(row) for row in expected] or not expected:
        return math.inf
    return max(
        abs(ours[name] - theirs[name]) / max(1.0, abs(theirs[name]))
        for ours, theirs in zip(found, expected, strict=True)
        for name in theirs
    )


def decoding(bench: Bench, seconds: float) -> Iterator[Row]:
    """The likeliest responses, by steps of fixed shapes on the device and step by step on the CPU, in fp32."""
    writer = Writer(bench.folder)
    tokenizer = loading.load_tokenizer(bench.tiny)
    prompts = [tokenizer(writer.text(4 + 3 * number))["input_ids"] for number in range(12)]
    how: dict[str, Any] = {
        "samples": 1, "max_new_tokens": 48, "temperature": 0.0, "stop_ids": [tokenizer.eos_token_id], "seed": 0,
        "batch_size": 8,
    }  # fmt: skip
    usual = loading.load_policy(bench.tiny, device="cpu", dtype=torch.float32).eval()
    expected = generate.sample(usual, prompts, **how)
    runners: list[step_runner.StepRunner] = []

    def runner(device: torch.device) -> step_runner.StepRunner:
        captured = device.type == "cuda"
        runners.append(step_runner.CapturedSteps(step_runner.cuda_graphs()) if captured else step_runner.eagerly)
        return runners[-1]

    step_runner.for_device = runner
    model = loading.load_policy(bench.tiny, device=bench.device, dtype=torch.float32).eval()
    found = generate.sample(model, prompts, **how)
    pairs = [
        (prompt, ours.ids, theirs.ids) for prompt, (ours,), (theirs,) in zip(prompts, found, expected, strict=True)
    ]
    others = [not _is_same(usual, *pair) for pair in pairs]
    yield Row(what="greedy responses that differ from the CPU's, fp32", value=float(sum(others)), unit="of 12", limit=0)
    captured = [each for each in runners if isinstance(each, step_runner.CapturedSteps)]
    if captured:
        graphs = sum(len(each.recorded) for each in captured)
        yield Row(what="CUDA graphs recorded", value=float(graphs), unit="graphs", goal=1.0)
    else:
        yield Row(what="CUDA graphs recorded", note="skipped: no card")


def _is_same(model: Any, prompt: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether two greedy responses are equal, up to a tie of two logits."""
    if tuple(ours) == tuple(theirs):
        return True
    pairs = enumerate(zip(ours, theirs, strict=False))
    first = next((place for place, (one, other) in pairs if one != other), None)
    if first is None:
        return False
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *theirs[:first]]])).logits[0, -1]
    return abs(float(logits[ours[first]] - logits[theirs[first]])) < TIE


def resuming(bench: Bench, seconds: float) -> Iterator[Row]:
    """SFT for four steps at once, and stopped after two and gone on with: the same bits."""
    writer = Writer(bench.folder)
    given: dict[str, Any] = {"model": bench.tiny, "data": writer.demonstrations(16, length=16, response=12)}
    values = _values("sft", "fp32")
    whole, parted = bench.folder / "resuming-whole", bench.folder / "resuming-parted"
    recipe_runs.run("sft", whole, values, device=bench.device, **given)
    if recipe_runs.run("sft", parted, values, device=bench.device, stop=recipe_runs.StopAfter(2), **given):
        raise RuntimeError("the training did not stop after two steps")
    recipe_runs.run("sft", parted, values, device=bench.device, resume=True, **given)
    ours, theirs = recipe_runs.weights(parted), recipe_runs.weights(whole)
    changed = sum(int((ours[name] != theirs[name]).sum()) for name in theirs)
    yield Row(what="weights that a stop and a resume change", value=float(changed), unit="numbers", limit=0)


def two_processes(bench: Bench, seconds: float) -> Iterator[Row]:
    """SFT by NCCL on two cards, beside one process."""
    what = "two processes by NCCL: weights, fp32"
    if bench.card.count < 2:
        yield Row(what=what, note=f"skipped: {'one card' if bench.card.count else 'no card'}")
        return
    writer = Writer(bench.folder)
    data = writer.demonstrations(8, length=16, response=12)
    values = _values("sft", "fp32")
    one, two = bench.folder / "one-process", bench.folder / "two-processes"
    recipe_runs.run("sft", one, values, device="cuda", model=bench.tiny, data=data)
    line = [sys.executable, "-m", "models_core", "sft", "--model", bench.tiny, "--data", str(data), "--out", str(two)]
    line += ["--device", "cuda", *(f"--set={name}={value}" for name, value in values.items())]
    subprocess.run([*line, "--set=processes=2", "--set=parallel=ddp"], check=True, timeout=seconds, stdout=sys.stderr)
    apart = weight_difference(recipe_runs.weights(two), recipe_runs.weights(one))
    yield Row(what=what, value=apart, unit="relative", limit=LIMITS["fp32"])
