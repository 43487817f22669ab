"""Parts of a training step as compiled kernels that visit memory once, for bf16 on a processor (see compiled/).

softmax_bf16.py     logits to errors
swiglu_bf16.py      the gated product inside an MLP
norm_bf16.py        RMS normalisation, and the sum before it
rope_bf16.py        rotary positions
adamw_bf16.py       a step of the optimizer, of fp32 masters and their bf16 weights
attention_bf16/     attention within segments, where the processor multiplies vectors of bf16

Each has a plain counterpart in models_core.modeling.manual_autograd, which computes where there is no compiler, and on
other devices.
"""

from importlib import import_module

import torch
from torch import Tensor

from models_core.cpu_kernels.compiled import availability

MODULES = ("softmax_bf16", "swiglu_bf16", "norm_bf16", "rope_bf16", "adamw_bf16")


def is_there(device: torch.device) -> bool:
    """Whether tensors on this device are computed by compiled kernels. Imports none of them."""
    return device.type == "cpu" and availability.has_compiler()


def load() -> None:
    """Have all kernels compiled, or read from disk, before time is measured: the very first time takes seconds."""
    for name in (*MODULES, "attention_bf16") if availability.multiplies_bf16() else MODULES:
        module = import_module(f"{__name__}.{name}")
        for kernel in module.KERNELS:
            kernel.load()


def fits(*tensors: Tensor) -> bool:
    """Whether these tensors are what the kernels read: bf16 without gaps, where there is a compiler."""
    return is_there(tensors[0].device) and all(
        tensor.dtype == torch.bfloat16 and tensor.is_contiguous() for tensor in tensors
    )
