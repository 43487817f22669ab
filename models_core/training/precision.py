"""Which numbers to compute in: bf16 where the device is faster at it, else fp32."""

import time
from pathlib import Path

import torch
from torch import nn

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16", "svebf16"})
"""What Linux calls a processor's instructions for bf16 products, x86 first, then ARM."""
PROBE_SHAPE = (1024, 768, 2048)
"""Tokens, inputs and outputs of the layer that is measured: about what a step of a small model multiplies."""
PROBE_SECONDS = 0.25
"""For each of the two precisions."""
PROBE_GAIN = 1.3
"""bf16 must be this much faster to be worth its rounding."""


def resolve(precision: str, *, device: torch.device) -> str:
    """ "bf16" or "fp32": the given one, or for "auto" what this device is fast at.

    A processor without bf16 instructions is not measured: torch computes there by way of fp32, many times slower.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if not _may_have_bf16():
        return "fp32"
    gain = _layer_seconds(torch.float32) / _layer_seconds(torch.bfloat16)
    return "bf16" if gain > PROBE_GAIN else "fp32"


def _may_have_bf16() -> bool:
    """Whether the processor lists bf16 instructions; true where the system does not tell."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    lines = [line.partition(":") for line in text.split("\n")]
    listed = [set(flags.split()) for name, _, flags in lines if name.strip().lower() in ("flags", "features")]
    return not listed or any(flags & BF16_FLAGS for flags in listed)


def _layer_seconds(dtype: torch.dtype) -> float:
    """A linear layer forward and backward: the best of several timings, for a busy machine only ever slows one down."""
    tokens, inputs, outputs = PROBE_SHAPE
    states = torch.ones(tokens, inputs, dtype=dtype, requires_grad=True)
    weight = torch.ones(outputs, inputs, dtype=dtype, requires_grad=True)
    seconds: list[float] = []
    end = time.perf_counter() + PROBE_SECONDS
    while len(seconds) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        nn.functional.linear(states, weight).sum().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def dtype_of(precision: str) -> torch.dtype:
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
