"""How often a reward model orders pairs as people did, and how sure that figure is."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from models_core.losses import Comparisons, Pair, ranking_loss
from models_core.preferences.examples import Example


def measures(examples: Sequence[Example], logits: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Accuracy on rankings with its 95% bootstrap interval, and that of "the longer answer wins".

    Prompts are resampled, not pairs: the pairs of one prompt share their responses and are not independent.
    """
    flat = torch.tensor([logit for row in logits for logit in row])
    loss = ranking_loss(flat, Comparisons.of([example.rankings for example in examples]))
    right = [order_agreement(row, example.pairs) for row, example in zip(logits, examples, strict=True)]
    longer = [order_agreement([len(ids) for ids in example.group.responses], example.pairs) for example in examples]
    low, high = bootstrap_interval(right)
    return {
        "accuracy": _ratio(right),
        "accuracy_low": low,
        "accuracy_high": high,
        "longer_wins_accuracy": _ratio(longer),
        "eval_loss": loss.item() / sum(example.weight for example in examples),
        "eval_rankings": sum(len(example.verdicts) for example in examples),
        "eval_pairs": sum(pairs for _, pairs in right),
    }


def followed(examples: Sequence[Example], logits: Sequence[Sequence[float]]) -> dict[str, float]:
    """What is followed along the way: less loss is better."""
    measured = measures(examples, logits)
    return {"eval_accuracy": measured["accuracy"], "eval_loss": measured["eval_loss"]}


def order_agreement(scores: Sequence[float], pairs: Sequence[Pair]) -> tuple[float, int]:
    """(pairs in the right order, strict pairs); equal scores are half right."""
    strict = [pair for pair in pairs if pair.target == 1.0]
    right = sum(
        1.0 if scores[pair.better] > scores[pair.worse] else 0.5 if scores[pair.better] == scores[pair.worse] else 0.0
        for pair in strict
    )
    return right, len(strict)


def bootstrap_interval(counts: Sequence[tuple[float, int]], *, resamples: int = 1000) -> tuple[float, float]:
    """95% percentile interval of sum(right) / sum(pairs) under resampling of the units, with a fixed seed."""
    generator = random.Random(0)
    ratios = sorted(_ratio(generator.choices(counts, k=len(counts))) for _ in range(resamples))
    return ratios[int(0.025 * resamples)], ratios[int(0.975 * resamples)]


def _ratio(counts: Sequence[tuple[float, int]]) -> float:
    return sum(right for right, _ in counts) / max(sum(pairs for _, pairs in counts), 1)
