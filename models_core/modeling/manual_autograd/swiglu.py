"""The product of a gate and what it lets through: silu(gate) * up (Shazeer, 2002.05202), as in Llama's MLP."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models_core.cpu_kernels import gradients as native


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of one shape."""
    if native.fits(gate, up):
        product: Tensor = _NativeGate.apply(gate, up)
        return product
    return functional.silu(gate) * up


class _NativeGate(torch.autograd.Function):
    """Nothing but the two inputs is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        from models_core.cpu_kernels.gradients.swiglu_bf16 import product

        ctx.save_for_backward(gate, up)
        return product(gate, up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        from models_core.cpu_kernels.gradients.swiglu_bf16 import gradients

        gate, up = ctx.saved_tensors
        return gradients(gradient.contiguous(), gate, up)
