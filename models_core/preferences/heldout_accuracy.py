"""How a reward model does on held-out prompts along the way; at the end reward_report says how good it is."""

from collections.abc import Sequence

import torch

from models_core.preferences.encoding import Example
from models_core.rl.losses import Comparisons, in_order, ranking_loss


def followed(examples: Sequence[Example], logits: Sequence[Sequence[float]]) -> dict[str, float]:
    """The part of strictly ordered pairs in the right order, equal logits half, and the loss, which is followed."""
    flat = torch.tensor([logit for row in logits for logit in row])
    comparisons = Comparisons.of([example.rankings for example in examples])
    loss = ranking_loss(flat, comparisons)
    return {
        "eval_accuracy": float(in_order(comparisons.differences(flat)).mean()),
        "eval_loss": loss.item() / sum(example.weight for example in examples),
    }
