"""Operators compiled on the machine they run on, for processors with AVX-512 in bf16. The product works without them.

compiler/       makes machine code of a Python function (numba), keeps it on disk, runs it on PyTorch's threads
attention_bf16/ attention within segments, forwards and backwards
decoding/       a decoder of Llama-shaped models: all layers of a step in one call

`install` is the only way in: `models_core.modeling.operators` calls it if this folder is there. To remove a kernel,
delete its folder and its line in KERNELS; to remove all of them, delete this folder and tests/models_core/cpu_kernels.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from typing import Any

from models_core.cpu_kernels import accepted_inputs as inputs
from models_core.cpu_kernels.compiler import availability
from models_core.modeling.operators import Kernel, register

Accepts = Callable[..., bool]
KERNELS: Sequence[tuple[str, str, Accepts, Callable[[], str | None]]] = (
    (
        "segment_attention",
        "attention_bf16:segment_attention",
        inputs.segments_bf16,
        availability.missing_for_bf16_products,
    ),
    ("decoder", "decoding.backend:decoder", inputs.decodable, availability.missing_for_bf16_products),
)
"""Operator; the function that replaces it, imported at its first call; the arguments it accepts; what it lacks here."""


def install() -> None:
    """Register the kernels that this machine can compile and run. Imports neither numba nor any of them."""
    for name, place, accepts, missing in KERNELS:
        if missing() is None:
            register(name, Kernel(accepts=accepts, load=partial(_load, place), prepare=partial(_prepare, place)))


@cache
def _load(place: str) -> Callable[..., Any]:
    """ "MODULE:FUNCTION" of this package."""
    module, _, function = place.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def _prepare(place: str) -> None:
    module = import_module(f"{__name__}.{place.partition(':')[0]}")
    for kernel in module.KERNELS:
        kernel.load()
