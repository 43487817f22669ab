"""Whether compiled functions can be used in this process. Imports neither numba nor what is compiled with it."""

import os
from functools import cache
from importlib.util import find_spec

SWITCH = "NUMBA_DISABLE_JIT"
"""numba's own environment variable: with 1 nothing is compiled."""


@cache
def missing_for_any() -> str | None:
    """What compiled functions lack here, None where nothing is missing."""
    if os.environ.get(SWITCH, "0") not in ("", "0"):
        return f"{SWITCH} is set"
    return None if find_spec("numba") is not None else "numba is not installed (the extra cpu-kernels)"


@cache
def missing_for_bf16_products() -> str | None:
    """What products of bf16 vectors (VDPBF16PS) lack here, None where nothing is missing.

    A processor with a matrix unit (AMX) is left to oneDNN, which is faster there.
    """
    if (missing := missing_for_any()) is not None:
        return missing
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    lacking = [name for name in ("avx512bf16", "avx512bw") if not features.get(name)]
    if lacking:
        return f"the processor has no {lacking[0].upper()}"
    return "the processor has AMX-BF16, which oneDNN uses" if features.get("amx-bf16") else None
