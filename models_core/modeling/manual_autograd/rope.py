"""Rotary positions (Su et al., 2104.09864): pairs of a head's numbers turned by angles that grow with the position."""

from typing import Any

import torch
from torch import Tensor

from models_core.cpu_kernels import gradients


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn number i of every head with number i + d/2: [1, N, heads, d], [1, N, d] twice -> [1, N, heads, d].

    Both halves of `cosine` and of `sine` are alike, as transformers makes them.
    """
    half = states.shape[-1] // 2
    output: Tensor = _Rotation.apply(states, cosine[..., None, :half], sine[..., None, :half])
    return output


class _Rotation(torch.autograd.Function):
    """Its gradient is turned back by the same angle."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(states, cosine, sine, direction=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turned(gradient, cosine, sine, direction=-1), None, None


def _turned(states: Tensor, cosine: Tensor, sine: Tensor, *, direction: int) -> Tensor:
    given = (states, cosine, sine)
    if gradients.is_there(states.device) and all(one.dtype == torch.bfloat16 and one.stride(-1) == 1 for one in given):
        from models_core.cpu_kernels.gradients.rope_bf16 import turned

        return turned(states, cosine, sine, direction=direction)
    first, second = states.chunk(2, dim=-1)
    output = torch.empty_like(states, memory_format=torch.contiguous_format)
    to_first, to_second = output.chunk(2, dim=-1)
    torch.mul(first, cosine, out=to_first).addcmul_(second, sine, value=-direction)
    torch.mul(second, cosine, out=to_second).addcmul_(first, sine, value=direction)
    return output
