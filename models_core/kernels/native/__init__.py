"""Parts of a training step as compiled kernels that visit memory once, for bf16 on a processor (see compiled/).

softmax.py     logits to errors
gate.py        the gated product inside an MLP
norm.py        RMS normalisation, and the sum before it
rotary.py      rotary positions
adamw.py       a step of the optimizer, of fp32 masters and their bf16 weights
attention/     attention within segments, where the processor multiplies vectors of bf16

Each has a plain counterpart in this package's parent, which computes where there is no compiler, and on other devices.
"""

from importlib import import_module

import torch
from torch import Tensor

from models_core.compiled import availability

MODULES = ("softmax", "gate", "norm", "rotary", "adamw")


def is_there(device: torch.device) -> bool:
    """Whether tensors on this device are computed by compiled kernels. Imports none of them."""
    return device.type == "cpu" and availability.has_compiler()


def load() -> None:
    """Have all kernels compiled, or read from disk, before time is measured: the very first time takes seconds."""
    for name in (*MODULES, "attention") if availability.multiplies_bf16() else MODULES:
        module = import_module(f"{__name__}.{name}")
        for kernel in module.KERNELS:
            kernel.load()


def fits(*tensors: Tensor) -> bool:
    """Whether these tensors are what the kernels read: bf16 without gaps, where there is a compiler."""
    return is_there(tensors[0].device) and all(
        tensor.dtype == torch.bfloat16 and tensor.is_contiguous() for tensor in tensors
    )
