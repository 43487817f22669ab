"""Rotary positions (Su et al., 2104.09864): pairs of a head's numbers rotated by angles that grow with the position."""

from typing import Any

import torch
from torch import Tensor


def apply_rope(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate number i of every head with number i + d/2: [1, N, heads, d], [1, N, d] twice -> [1, N, heads, d].

    Both halves of `cosine` and of `sine` are alike, as transformers makes them.
    """
    half = states.shape[-1] // 2
    output: Tensor = _Rotation.apply(states, cosine[..., None, :half], sine[..., None, :half])
    return output


class _Rotation(torch.autograd.Function):
    """The gradient is rotated back by the same angles."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _apply_rope(states, cosine, sine, direction=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _apply_rope(gradient, cosine, sine, direction=-1), None, None


def _apply_rope(states: Tensor, cosine: Tensor, sine: Tensor, *, direction: int) -> Tensor:
    """[1, N, heads, d] by angles [1, N, 1, d / 2], forwards (1) or back (-1)."""
    first, second = states.chunk(2, dim=-1)
    output = torch.empty_like(states, memory_format=torch.contiguous_format)
    to_first, to_second = output.chunk(2, dim=-1)
    torch.mul(first, cosine, out=to_first).addcmul_(second, sine, value=-direction)
    torch.mul(second, cosine, out=to_second).addcmul_(first, sine, value=direction)
    return output
