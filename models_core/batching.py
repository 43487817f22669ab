"""Which rows are computed together: epoch order, micro-batches by token budget, padding, and shared prompts.

Everything here is a pure function of sizes and seeds. A recipe that resumes recomputes its plan and skips the part it
has done.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models_core.ops import length_mask


def epoch_order(rows: int, *, epoch: int, seed: int) -> list[int]:
    """A shuffle of `range(rows)` that depends on seed and epoch only."""
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # seeding with a text is stable across Python processes
    return order


def minibatches(rows: int, *, size: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of every update of a whole run, reshuffled each epoch; the last of an epoch may be smaller."""
    plan = []
    for epoch in range(epochs):
        order = epoch_order(rows, epoch=epoch, seed=seed)
        plan.extend(order[start : start + size] for start in range(0, rows, size))
    return plan


def micro_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Cut rows into groups of like length whose padded size (rows x longest row) is at most `budget` tokens.

    Longest first: should memory run out, it does so at once. A row longer than the budget gets a group of its own.
    The order is a function of the lengths alone, ties by position.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    groups: list[list[int]] = []
    for row in order:
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


@dataclass(frozen=True)
class Padded:
    """Token rows as one tensor: `ids` and `mask` are [B, T], `lengths` is [B]."""

    ids: torch.Tensor
    mask: torch.Tensor
    lengths: torch.Tensor

    @property
    def positions(self) -> torch.Tensor:
        """Position of each token in its own row, 0 at the first real one: [B, T]. Padding repeats a neighbour's."""
        return (self.mask.long().cumsum(1) - 1).clamp(min=0)


def pad(rows: Sequence[Sequence[int]], *, left: bool = False, device: torch.device | str = "cpu") -> Padded:
    """Join rows of unequal length. Padding holds token 0; nothing may ever look at it, the mask says what is real."""
    width = max(len(row) for row in rows)
    filled = [[0] * (width - len(row)) + list(row) if left else list(row) + [0] * (width - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = length_mask(lengths, width)
    return Padded(torch.tensor(filled, device=device), mask.flip(1) if left else mask, lengths)
