"""Length bias of a reward model, next to the labelers' own preference for length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from models_core.reward_report.heldout_judgments import Floats, Pairs, ScoredJudgment, distinct_comparisons
from models_core.reward_report.measures.intervals import Estimate, estimate_mean


def length_metrics(pairs: Pairs, judgments: Sequence[ScoredJudgment]) -> dict[str, Any]:
    """A length baseline, the model's accuracy where labelers chose the longer and the shorter response, correlations.

    `lead`: accuracy of the model minus that of the better baseline of "longer wins" and "shorter wins".
    """
    longer = np.heaviside(pairs.longer, 0.5)
    wins = estimate_mean(longer, pairs.prompt)
    is_longer = wins.value is None or wins.value >= 0.5
    baseline = longer if is_longer else 1 - longer
    with_rule, against_rule = (
        (pairs.longer > 0, pairs.longer < 0) if is_longer else (pairs.longer < 0, pairs.longer > 0)
    )
    unequal = pairs.longer != 0
    picks_longer = np.heaviside(pairs.difference * pairs.longer, 0.5)[unequal]
    logits, tokens = _responses(judgments)
    return {
        "longer_wins": wins.figures(),
        "rule": "longer" if is_longer else "shorter",
        "lead": estimate_mean(pairs.correct - baseline, pairs.prompt, bounds=(-1.0, 1.0)).figures(name="difference"),
        "with_rule": _part(pairs, with_rule).figures(),
        "against_rule": _part(pairs, against_rule).figures(),
        "model_prefers_longer": estimate_mean(picks_longer, pairs.prompt[unequal]).figures(name="share"),
        "people_prefer_longer": estimate_mean(longer[unequal], pairs.prompt[unequal]).figures(name="share"),
        "correlation": _spearman(np.concatenate([*logits, []]), np.concatenate([*tokens, []])),
        "correlation_within_prompt": within_prompt_correlation(logits, tokens),
    }


def within_prompt_correlation(logits: Sequence[Floats], tokens: Sequence[Floats]) -> float | None:
    """Pearson correlation of logit and log length, each centred within its comparison.

    Differences between prompts have no effect: only longer responses to the same prompt do.
    """
    scores = np.concatenate([*(own - own.mean() for own in logits), []])
    lengths = np.concatenate([*(np.log(own) - np.log(own).mean() for own in tokens), []])
    if not _varies(scores) or not _varies(lengths):
        return None
    return float(stats.pearsonr(scores, lengths).statistic)


def _responses(judgments: Sequence[ScoredJudgment]) -> tuple[list[Floats], list[Floats]]:
    """Logits and lengths of all scored responses, one array a comparison."""
    logits, tokens = [], []
    for judgment in distinct_comparisons(judgments):
        read = [
            (logit, size) for logit, size in zip(judgment.logits, judgment.lengths, strict=True) if logit is not None
        ]
        if len(read) > 1:
            own = np.array(read, dtype=np.float64)
            logits.append(own[:, 0])
            tokens.append(own[:, 1])
    return logits, tokens


def _part(pairs: Pairs, inside: Any) -> Estimate:
    return estimate_mean(pairs.correct[inside], pairs.prompt[inside])


def _spearman(logits: Floats, tokens: Floats) -> float | None:
    return float(stats.spearmanr(logits, tokens).statistic) if _varies(logits) and _varies(tokens) else None


def _varies(values: Floats) -> bool:
    return len(values) > 2 and bool(np.ptp(values) > 1e-12)
