"""RMS normalisation (Zhang and Sennrich, 1910.07467) with a backward pass of few passes over memory."""

from typing import Any

import torch
from torch import Tensor


def rms_norm(states: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps) over the last dimension: [..., D], [D] -> [..., D].

    Computed in fp32 and rounded to the model's dtype before the weight comes in, as transformers does.
    """
    output: Tensor = _RMSNorm.apply(states, weight, eps)
    return output


def add_rms_norm(states: Tensor, added: Tensor, weight: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    """The sum x of two states [..., D], and `rms_norm` of it: what stands between two blocks of a layer."""
    states = states + added
    return states, rms_norm(states, weight, eps=eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = states.float()
        scale = torch.linalg.vecdot(wide, wide)[..., None].div_(states.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(states, weight, scale)
        return (states * scale).to(states.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """With u = x scale: dx = scale (w g - u mean(w g u)), dw = sum over tokens of g u."""
        states, weight, scale = ctx.saved_tensors
        width = states.shape[-1]
        unit = states * scale  # promoted to fp32 on the way
        product = unit * gradient
        along = torch.mv(product.view(-1, width), weight.float()).div_(width).view_as(scale)
        to_states = (gradient * weight.float()).sub_(unit.mul_(along)).mul_(scale).to(states.dtype)
        to_weight = product.view(-1, width).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        return to_states, to_weight, None
