"""A step of AdamW over fp32 masters, by torch's fused kernels, and the clipping that comes before it.

On a processor the clipping factor is a number and weights are updated one after the other. On a GPU it stays a tensor:
nobody waits for the norm before the step is queued, and one whose gradient is not finite changes nothing.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from models_core.modeling.devices import is_accelerator

CLIP_EPS = 1e-6
"""Added to the norm that gradients are divided by, as torch does."""
BATCH_NUMBERS = 2**26
"""Weights that a GPU updates together: their gradients exist in fp32 at once, 256 MB of them."""


class Clipping(NamedTuple):
    """What a GPU does to the gradients of a step, as scalars of its own: divide by `scale`; leave out if not `finite`.

    Numbers are fp32, as the fused kernel takes them.
    """

    scale: Tensor  # at least 1
    skips: Tensor  # 1 where the norm is not a finite number, else 0

    @classmethod
    def to(cls, max_norm: float, *, norm: Tensor) -> "Clipping":
        """Scale gradients of this norm down to `max_norm`; 0 leaves them as they are."""
        scale = ((norm + CLIP_EPS) / max_norm).clamp(min=1.0) if max_norm > 0 else torch.ones_like(norm)
        return cls(scale.float(), (~norm.isfinite()).float())

    def apply(self, gradient: Tensor) -> Tensor:
        """The gradient as it is to be used, zeros where the step is left out: for optimizers that know no scalars."""
        return torch.where(self.skips.bool(), torch.zeros_like(gradient), gradient / self.scale)


class AdamWUpdate(NamedTuple):
    """One parameter of a step; the tensors are contiguous and of one shape, but for `step`."""

    gradient: Tensor  # bf16 or fp32
    master: Tensor  # fp32, as both moments
    exp_avg: Tensor
    exp_avg_sq: Tensor
    weight: Tensor | None  # where the master is not the weight itself
    step: Tensor  # scalar: how many steps were taken before this one


def adamw_step(
    updates: Sequence[AdamWUpdate],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
    factor: float | Clipping,
) -> None:
    """AdamW (1711.05101) with gradients times `factor`: updates masters, moments, `step` and rounded weights."""
    for batch in _batches(updates):
        if isinstance(factor, Clipping):
            gradients = [update.gradient.to(update.master.dtype) for update in batch]
        else:
            gradients = [scaled(update.gradient, factor, dtype=update.master.dtype) for update in batch]
        adamw(
            [update.master for update in batch],
            gradients,
            [update.exp_avg for update in batch],
            [update.exp_avg_sq for update in batch],
            [],
            [update.step for update in batch],
            fused=True,
            grad_scale=factor.scale if isinstance(factor, Clipping) else None,
            found_inf=factor.skips if isinstance(factor, Clipping) else None,
            amsgrad=False,
            beta1=betas[0],
            beta2=betas[1],
            lr=lr,
            weight_decay=weight_decay,
            eps=eps,
            maximize=False,
        )
        rounded = [(update.weight, update.master) for update in batch if update.weight is not None]
        if rounded:
            torch._foreach_copy_([weight for weight, _ in rounded], [master for _, master in rounded])


def _batches(updates: Sequence[AdamWUpdate]) -> Iterator[list[AdamWUpdate]]:
    """On a processor one after the other: all gradients in fp32 at once would take as much memory as the masters."""
    batch: list[AdamWUpdate] = []
    numbers = 0
    most = BATCH_NUMBERS if is_accelerator(updates[0].master.device) else 0
    for update in updates:
        if batch and numbers + update.master.numel() > most:
            yield batch
            batch, numbers = [], 0
        batch.append(update)
        numbers += update.master.numel()
    yield batch


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all of them together, computed in fp32: a scalar on their device."""
    if is_accelerator(gradients[0].device):
        norms = list(torch._foreach_norm(list(gradients), 2, dtype=torch.float32))
    else:
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


def scaled(gradient: Tensor, factor: float, *, dtype: torch.dtype) -> Tensor:
    """A gradient times a factor of at most 1, in another dtype. May overwrite it."""
    gradient = gradient.to(dtype)
    return gradient.mul_(factor) if factor < 1 else gradient
