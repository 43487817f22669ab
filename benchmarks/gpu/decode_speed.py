"""How fast tokens are decoded, beside transformers' `generate` and beside what the memory's bandwidth allows.

The time of a long response less that of a short one: what is left is decode steps alone, without prompts. No response
ends early. At the least a step reads all weights and the keys and values of all rows once.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu import recipe_runs
from benchmarks.gpu.cards import COPIED_BYTES
from benchmarks.gpu.inputs import Writer
from benchmarks.gpu.rows import Bench, Row
from models_core.generation import generate
from models_core.modeling import loading
from models_core.training import precision

GOAL, GOAL_ROWS = 0.6, 256
"""Share of what the bandwidth allows, at so many rows."""
Engine = Callable[[Any, list[list[int]], int], object]


def ours(model: Any, prompts: list[list[int]], new_tokens: int) -> object:
    return generate.sample(
        model, prompts, samples=1, max_new_tokens=new_tokens, stop_ids=[], seed=0, batch_size=len(prompts)
    )


def transformers(model: Any, prompts: list[list[int]], new_tokens: int) -> object:
    """Its own loop, drawing from all tokens; prompts are of one length."""
    ids = torch.tensor(prompts, device=model.device)
    return model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=True,
        temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0,
    )  # fmt: skip


def decoding(bench: Bench, seconds: float) -> Iterator[Row]:
    sizes = bench.sizes
    bandwidth, source = bench.card.bandwidth, "the card's"
    if bandwidth is None:
        bandwidth, source = copied_bytes(bench.device), "measured"
    yield Row(what="memory bandwidth", value=bandwidth / 1e9, unit="GB/s", note=source)
    dtype = precision.dtype_of(bench.precision)
    model = loading.load_policy(bench.large, device=bench.device, dtype=dtype).eval()
    tokenizer = loading.load_tokenizer(bench.large)
    writer = Writer(bench.folder)
    for rows in sizes.decode_rows:
        prompts = [tokenizer(writer.text(sizes.rollout_prompt))["input_ids"] for _ in range(rows)]
        for name, engine in (("Hone", ours), ("transformers", transformers)):
            speed = _speed(engine, model, prompts, sizes.decode_lengths, device=bench.device)
            what = f"decode, {rows} rows, {name}"
            if speed is None:
                yield Row(what=what, note="no figure: the long responses took no longer than the short ones")
                continue
            yield Row(what=what, value=speed, unit="tokens/s")
            if engine is ours:
                share = speed / allowed(bench, rows, bandwidth)
                goal = GOAL if rows == GOAL_ROWS else None
                yield Row(what=f"decode, {rows} rows: share of the bandwidth", value=share, unit="of 1", goal=goal)


def allowed(bench: Bench, rows: int, bandwidth: float) -> float:
    """Tokens a second at the most, where a step only reads weights, keys and values."""
    shape, sizes = bench.shape, bench.sizes
    length = sizes.rollout_prompt + sum(sizes.decode_lengths) / 2
    numbers = shape.parameters + rows * length * shape.cached_numbers
    return rows * bandwidth / (numbers * precision.dtype_of(bench.precision).itemsize)


def _speed(
    engine: Engine, model: Any, prompts: list[list[int]], lengths: tuple[int, int], *, device: str
) -> float | None:
    """Tokens a second between a short and a long response, the best of two each, after one that loads kernels."""
    engine(model, prompts, lengths[0])
    short, long = (min(_seconds(engine, model, prompts, length, device=device) for _ in range(2)) for length in lengths)
    return len(prompts) * (lengths[1] - lengths[0]) / (long - short) if long > short else None


def _seconds(engine: Engine, model: Any, prompts: list[list[int]], new_tokens: int, *, device: str) -> float:
    recipe_runs.synchronize(device)
    start = time.perf_counter()
    engine(model, prompts, new_tokens)
    recipe_runs.synchronize(device)
    return time.perf_counter() - start


def copied_bytes(device: str) -> float:
    """Bytes a second that a copy within the device's memory reads and writes: the best of three."""
    source = torch.ones(COPIED_BYTES // (1 if device == "cuda" else 8), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = []
    for _ in range(3):
        recipe_runs.synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        recipe_runs.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * source.numel() / min(seconds)
