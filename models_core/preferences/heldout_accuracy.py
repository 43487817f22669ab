"""Metrics on held-out rankings during training; reward_report evaluates the finished reward model."""

from collections.abc import Sequence

import torch

from models_core.preferences.encoding import Example
from models_core.preferences.ranking_loss import PairBatch, pair_correct, ranking_loss


def heldout_metrics(examples: Sequence[Example], logits: Sequence[Sequence[float]]) -> dict[str, float]:
    """Accuracy over strictly ordered pairs (equal logits count half) and ranking loss.

    `logits`: one a response of each example.
    """
    flat = torch.tensor([logit for row in logits for logit in row])
    pairs = PairBatch.from_groups([example.rankings for example in examples])
    loss = ranking_loss(flat, pairs)
    return {
        "eval_accuracy": float(pair_correct(pairs.differences(flat)).mean()),
        "eval_loss": loss.item() / sum(example.weight for example in examples),
    }
