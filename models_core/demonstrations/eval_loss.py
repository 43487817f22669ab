"""The loss of demonstrations that are measured and not learned from: the same for a run's own and for `evaluate`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core.demonstrations.examples import Example
from models_core.demonstrations.token_losses import loss_positions, token_losses
from models_core.training.batching import micro_batches


@torch.no_grad()
def mean_loss(
    network: Any,
    examples: Sequence[Example],
    *,
    budget: int,
    device: torch.device,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> float:
    """Mean loss per token in nats, computed about `budget` tokens at a time; `progress` hears of rows done.

    It ends at the first rows whose loss is no number, and returns what it is.
    """
    total, done = 0.0, 0
    for batch in micro_batches([example.tokens for example in examples], budget=budget):
        members = [examples[row] for row in batch]
        at = loss_positions(members, whole_rows=False, device=device)
        total += token_losses(network, members, at, device=device).double().sum().item()
        if not math.isfinite(total):
            return total
        done += len(members)
        progress(done, len(examples))
    return total / sum(example.loss_tokens for example in examples)
