"""How fast recipes train a model of 1.2 billion parameters in bf16: tokens a second, share of the card's flops, memory.

The first step is left out: it makes memory and loads kernels. Data is read again and again, so that a run ends by its
time. Flops are those of the products that the loss needs, three times a forward pass: each token of a row once through
the layers (a shared prompt once), attention over half of each row's square, the head where a token is predicted.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import recipe_runs
from benchmarks.gpu.inputs import Shape, Writer
from benchmarks.gpu.recipe_runs import StepTimes
from benchmarks.gpu.rows import Bench, Row
from models_core.modeling import loading
from models_core.training.step_meter import peak_memory

PPO_SCRIPT = Path(__file__).parents[1] / "trl_ppo.py"
GOAL = 0.4
"""Share of the card's peak flops, of SFT and of reward training."""
PPO_GOAL = 2.0
"""Times TRL's episodes a second."""
WARM_STEPS = 1
PASSES = 1000
"""Over the data; the time ends a run."""
OPEN_ENDED: dict[str, Any] = {"held_out": 0, "save_every": 0, "max_length": 4096}
PPO_OPEN_ENDED: dict[str, Any] = {
    "minibatches": 1, "kl_coef": 0.05, "reward_train_overlap": "keep", "max_kl": 0, "min_entropy": 0, "min_length": 0,
    "zero_variance_patience": 0,
}  # fmt: skip
"""One pass and one step a batch, as the peer is run; early stopping off, since a random model learns nothing."""


def sft(bench: Bench, seconds: float) -> Iterator[Row]:
    sizes, shape = bench.sizes, bench.shape
    data = Writer(bench.folder).demonstrations(sizes.demonstrations, length=sizes.prompt, response=sizes.response)
    row = sizes.prompt + sizes.response + _template(bench)
    cost = Cost(tokens=row * sizes.demonstrations, flops=sizes.demonstrations * flops(shape, [row], sizes.response))
    values = {"batch_size": sizes.demonstrations, "epochs": PASSES, "method": "full"}
    yield from _trained(bench, "sft", values, cost, seconds=seconds, data=data)


def reward_of_4(bench: Bench, seconds: float) -> Iterator[Row]:
    yield from _reward(bench, seconds, responses=4)


def reward_of_9(bench: Bench, seconds: float) -> Iterator[Row]:
    yield from _reward(bench, seconds, responses=9)


def _reward(bench: Bench, seconds: float, *, responses: int) -> Iterator[Row]:
    sizes, shape = bench.sizes, bench.shape
    prompt = sizes.prompt + _template(bench)
    each = sizes.ranked_response + 1
    count = max(2, sizes.ranked_tokens // (prompt + responses * each))
    data = Writer(bench.folder).rankings(
        count, length=sizes.prompt, response=sizes.ranked_response, responses=responses
    )
    # A response sees the prompt and itself: squares of prompt and response, less the prompt's that is counted once.
    ranking = flops(shape, [prompt], 0) + responses * (flops(shape, [prompt + each], 0) - flops(shape, [prompt], 0))
    cost = Cost(tokens=count * (prompt + responses * each), flops=count * ranking)
    values = {"batch_size": count, "epochs": PASSES, "method": "full"}
    yield from _trained(bench, "reward", values, cost, seconds=seconds, data=data, name=f"reward, K={responses}")


class Cost:
    """What a step computes."""

    def __init__(self, *, tokens: int, flops: float) -> None:
        self.tokens, self.flops = tokens, flops


def flops(shape: Shape, rows: list[int], predicted: int) -> float:
    """Of training on rows of so many tokens, of which the head predicts so many."""
    layers = 6.0 * shape.layer_parameters * sum(rows)
    attention = 6.0 * shape.layers * shape.width * sum(length**2 for length in rows)
    return layers + attention + 6.0 * shape.vocabulary * shape.width * predicted


def _template(bench: Bench) -> int:
    """Tokens that the chat template adds to a prompt, and the end of a response."""
    tokenizer = loading.load_tokenizer(bench.large)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": ""}], add_generation_prompt=True, return_dict=False
    )
    return len(chat) + 1


def _trained(
    bench: Bench, stage: str, values: dict[str, Any], cost: Cost, *, seconds: float, data: Path, name: str = "sft"
) -> Iterator[Row]:
    """A stage's figures, with as many tokens in a forward pass as the memory holds."""
    until = time.monotonic() + 0.8 * seconds
    sizes = bench.sizes
    tokens = sizes.forward_tokens
    times: list[float] = []
    while not times:
        meter = StepTimes(until=until, device=bench.device, least=WARM_STEPS + 1, most=sizes.most_steps)
        out = bench.folder / f"{name.replace(', K=', '-')}-{tokens}"
        try:
            settings = {**OPEN_ENDED, **values, "precision": bench.precision, "max_tokens_per_forward": tokens}
            recipe_runs.run(stage, out, settings, device=bench.device, stop=meter, model=bench.large, data=data)
            times = meter.seconds[WARM_STEPS:]
        except torch.OutOfMemoryError:
            if tokens < 1024:
                raise
            yield Row(what=f"{name}: {tokens:,} tokens in a forward pass", note="out of memory: half as many")
            tokens //= 2
        if not times:
            gc.collect()
            torch.cuda.empty_cache()
    step = statistics.median(times)
    yield Row(what=f"{name}: speed", value=cost.tokens / step, unit="tokens/s")
    yield _share_of_flops(bench, name, cost.flops / step)
    yield Row(what=f"{name}: peak memory", value=peak_memory() / 1e9, unit="GB")


def _share_of_flops(bench: Bench, name: str, per_second: float) -> Row:
    what, peak = f"{name}: share of peak flops", bench.card.peak_flops
    if peak is None:
        why = "no card" if bench.device == "cpu" else f"unknown card: {bench.card.name}"
        return Row(what=what, note=f"{why}; {per_second / 1e12:.3f} Tflop/s")
    return Row(what=what, value=per_second / peak, unit="MFU", goal=None if bench.is_tiny else GOAL)


def ppo(bench: Bench, seconds: float) -> Iterator[Row]:
    """Hone's iterations by LoRA, its default, and with all weights; then TRL's, where it is installed."""
    sizes = bench.sizes
    folder = bench.folder / "ppo"
    folder.mkdir()
    data = Writer(folder).prompts(4 * sizes.episodes, length=sizes.rollout_prompt)
    start = time.monotonic()
    best = 0.0
    for method, share in (("lora", 0.25), ("full", 0.5)):
        meter = StepTimes(
            until=start + share * seconds, device=bench.device, least=WARM_STEPS + 1, most=sizes.most_steps
        )
        values = {
            **OPEN_ENDED, **PPO_OPEN_ENDED, "precision": bench.precision, "method": method,
            "batch_size": sizes.episodes,
            "episodes": sizes.episodes * PASSES, "max_new_tokens": sizes.new_tokens,
            "max_tokens_per_forward": sizes.forward_tokens,
        }  # fmt: skip
        given = {"model": bench.large, "reward": bench.reward, "data": data}
        recipe_runs.run("ppo", folder / method, values, device=bench.device, stop=meter, **given)
        speed = sizes.episodes / statistics.median(meter.seconds[WARM_STEPS:])
        best = max(best, speed)
        tokens = sizes.rollout_prompt + _template(bench) + sizes.new_tokens
        yield Row(what=f"ppo, {method}: speed", value=speed, unit="episodes/s")
        yield Row(what=f"ppo, {method}: tokens of prompts and responses", value=speed * tokens, unit="tokens/s")
        yield Row(what=f"ppo, {method}: peak memory until then", value=peak_memory() / 1e9, unit="GB")
        gc.collect()
    what = "ppo: times TRL's episodes/s"
    peer = bench.peer or (sys.executable if find_spec("trl") else None)
    if peer is None:
        yield Row(what=what, note="skipped: TRL is not installed (--peer ENV/bin/python)")
        return
    torch.cuda.empty_cache()
    theirs = _peer(bench, peer, data, folder / "peer", seconds=start + seconds - time.monotonic())
    yield Row(what="ppo, TRL: speed", value=theirs, unit="episodes/s")
    yield Row(what=what, value=best / theirs, unit="times", goal=None if bench.is_tiny else PPO_GOAL)


def _peer(bench: Bench, peer: str, data: Path, out: Path, *, seconds: float) -> float:
    """Episodes a second of TRL's PPOTrainer, its first iteration included."""
    sizes = bench.sizes
    episodes = 4 * sizes.episodes
    line = [peer, str(PPO_SCRIPT), bench.large, bench.reward, str(data), str(out), "--episodes", str(episodes)]
    line += ["--batch", str(sizes.episodes), "--new-tokens", str(sizes.new_tokens), "--kl-coef", "0.05"]
    line += ["--at-once", str(min(32, sizes.episodes))]
    # One card, as ours: transformers' trainer would split batches over all that it sees.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    done = subprocess.run(
        line,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=max(seconds, 1.0),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": first},
    )
    return episodes / float(json.loads(done.stdout.strip().split("\n")[-1])["seconds"])
