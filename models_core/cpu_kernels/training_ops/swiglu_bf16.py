"""The gated product inside an MLP, silu(gate) * up, and its gradients: one visit each, of bf16 numbers.

silu(x) = x / (1 + e^-x) (Elfwing et al., 1702.03118); the product with a second projection is SwiGLU (2002.05202).
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from typing import Any

import torch
from numba import carray
from numpy import float32
from torch import Tensor

from models_core.cpu_kernels.compiler.intrinsics import exponential, halves, narrow, own, share, wide
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call

GATE, UP, COUNT, OUT, GRADIENT, TO_GATE, TO_UP = range(RESERVED, RESERVED + 7)
SIZE = RESERVED + 7


@kernel
def _product(arguments):
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    first, last = share(v[COUNT], thread, threads)
    gate, up, out = halves(v[GATE]), halves(v[UP]), halves(v[OUT])
    for place in range(first, last):
        x = wide(gate[place])
        out[place] = narrow(x / (float32(1) + exponential(-x)) * wide(up[place]))


@kernel
def _gradients(arguments):
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    first, last = share(v[COUNT], thread, threads)
    gate, up, gradient = halves(v[GATE]), halves(v[UP]), halves(v[GRADIENT])
    to_gate, to_up = halves(v[TO_GATE]), halves(v[TO_UP])
    for place in range(first, last):
        x, g = wide(gate[place]), wide(gradient[place])
        likelihood = float32(1) / (float32(1) + exponential(-x))
        swish = x * likelihood
        to_up[place] = narrow(g * swish)
        to_gate[place] = narrow(g * wide(up[place]) * (likelihood + swish * (float32(1) - likelihood)))


KERNELS = (_product, _gradients)


def product(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up: bf16, contiguous and of one shape."""
    out = torch.empty_like(up)
    Call(_product, [gate.data_ptr(), up.data_ptr(), gate.numel(), out.data_ptr(), 0, 0, 0]).run()
    return out


def gradients(gradient: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up."""
    to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
    memory = [tensor.data_ptr() for tensor in (gradient, to_gate, to_up)]
    Call(_gradients, [gate.data_ptr(), up.data_ptr(), gate.numel(), 0, *memory]).run()
    return to_gate, to_up


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of one shape, with its gradients."""
    return _SwiGLU.apply(gate, up)


class _SwiGLU(torch.autograd.Function):
    """Nothing but the two inputs is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return product(gate, up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradients(gradient.contiguous(), *ctx.saved_tensors)
