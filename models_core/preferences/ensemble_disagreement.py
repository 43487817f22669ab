"""Disagreement of an ensemble's heads on held-out pairs, and whether it predicts errors."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy import stats

from models_core.preferences.encoding import Example


def disagreement_metrics(examples: Sequence[Example], head_scores: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Metrics from the heads' scores of every example: (responses, heads) each.

    ensemble_std            standard deviation of a score over heads, mean over responses
    ensemble_disagreement   standard deviation of a pair's difference of scores over heads, mean over ordered pairs
    disagreement_auc        probability that a wrongly ordered pair has more disagreement than a correct one: 0.5 is
                            chance, None where all pairs are correct or all wrong
    """
    deviations, is_wrong = [], []
    for example, scores in zip(examples, head_scores, strict=True):
        for pair in example.pairs:
            if pair.target == 1.0:
                difference = scores[pair.better] - scores[pair.worse]
                deviations.append(float(difference.std(correction=0)))
                is_wrong.append(bool(difference.mean() < 0))
    response_stds = [float(row.std(-1, correction=0).mean()) for row in head_scores]
    return {
        "ensemble_std": sum(response_stds) / max(len(response_stds), 1),
        "ensemble_disagreement": sum(deviations) / max(len(deviations), 1),
        "disagreement_auc": _auc(deviations, is_wrong),
    }


def _auc(numbers: Sequence[float], is_wrong: Sequence[bool]) -> float | None:
    """Probability that a wrong one has the larger number than a correct one, ties counted as half."""
    wrong, correct = ([n for n, each in zip(numbers, is_wrong, strict=True) if each == kind] for kind in (True, False))
    if not (wrong and correct):
        return None
    return float(stats.mannwhitneyu(wrong, correct).statistic) / (len(wrong) * len(correct))
