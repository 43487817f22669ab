"""Whether compiled functions can be used in this process. Imports neither numba nor what is compiled with it."""

import os
from functools import cache
from importlib.util import find_spec

SWITCH = "NUMBA_DISABLE_JIT"
"""numba's own environment variable: with 1 nothing is compiled."""


@cache
def has_compiler() -> bool:
    """Whether functions can be compiled here: numba is installed and not switched off."""
    return os.environ.get(SWITCH, "0") in ("", "0") and find_spec("numba") is not None


@cache
def multiplies_bf16() -> bool:
    """Whether the processor multiplies vectors of bf16, and has no matrix unit (AMX) that is faster still.

    AMX is left to oneDNN.
    """
    if not has_compiler():
        return False
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return bool(features.get("avx512bf16") and features.get("avx512bw") and not features.get("amx-bf16"))
