"""How far the heads of an ensemble agree on held-out pairs, and whether they agree less where they are wrong."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy import stats

from models_core.preferences.encoding import Example


def measures(examples: Sequence[Example], opinions: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Of the heads' scores of every example, [responses, m] each: their mean deviations, and what those foretell.

    ensemble_std            of one response's score over the heads, averaged over responses
    ensemble_disagreement   of an ordered pair's difference of scores over the heads, averaged over pairs
    disagreement_auc        chance that a wrongly ordered pair has more of it than a rightly ordered one: 0.5 says
                            nothing, None where all pairs are right or all wrong
    """
    spread, wrong = [], []
    for example, scores in zip(examples, opinions, strict=True):
        for pair in example.pairs:
            if pair.target == 1.0:
                difference = scores[pair.better] - scores[pair.worse]
                spread.append(float(difference.std(correction=0)))
                wrong.append(bool(difference.mean() < 0))
    deviations = [float(row.std(-1, correction=0).mean()) for row in opinions]
    return {
        "ensemble_std": sum(deviations) / max(len(deviations), 1),
        "ensemble_disagreement": sum(spread) / max(len(spread), 1),
        "disagreement_auc": _auc(spread, wrong),
    }


def _auc(numbers: Sequence[float], is_wrong: Sequence[bool]) -> float | None:
    """Chance that the number of one that is wrong is larger than that of one that is right, ties counted as half."""
    of_wrong, of_right = (
        [n for n, each in zip(numbers, is_wrong, strict=True) if each == kind] for kind in (True, False)
    )
    if not (of_wrong and of_right):
        return None
    return float(stats.mannwhitneyu(of_wrong, of_right).statistic) / (len(of_wrong) * len(of_right))
