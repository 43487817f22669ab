"""How much of a reward model is "the longer answer wins", and how much of that is people's own taste."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from models_core.reward_report.heldout_judgments import Floats, Judged, Pairs, distinct
from models_core.reward_report.measures.intervals import Share, share


def length(pairs: Pairs, judgments: Sequence[Judged]) -> dict[str, Any]:
    """The baseline beside the model, its accuracy where people chose the longer and the shorter one, correlations.

    `lead` is by how much the model beats the better one of "longer wins" and "shorter wins" on the same pairs.
    """
    longer = np.heaviside(pairs.longer, 0.5)
    wins = share(longer, pairs.prompt)
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
        "lead": share(pairs.right - baseline, pairs.prompt, bounds=(-1.0, 1.0)).figures(name="difference"),
        "with_rule": _part(pairs, with_rule).figures(),
        "against_rule": _part(pairs, against_rule).figures(),
        "model_prefers_longer": share(picks_longer, pairs.prompt[unequal]).figures(name="share"),
        "people_prefer_longer": share(longer[unequal], pairs.prompt[unequal]).figures(name="share"),
        "correlation": _spearman(np.concatenate([*logits, []]), np.concatenate([*tokens, []])),
        "correlation_within_prompt": within(logits, tokens),
    }


def within(logits: Sequence[Floats], tokens: Sequence[Floats]) -> float | None:
    """Pearson's correlation of logit and log length, each less its mean over the responses of one comparison.

    Long answers to some prompts and high scores there make no correlation here: only longer ones among the same do.
    """
    scores = np.concatenate([*(own - own.mean() for own in logits), []])
    lengths = np.concatenate([*(np.log(own) - np.log(own).mean() for own in tokens), []])
    if not _varies(scores) or not _varies(lengths):
        return None
    return float(stats.pearsonr(scores, lengths).statistic)


def _responses(judgments: Sequence[Judged]) -> tuple[list[Floats], list[Floats]]:
    """Logits and lengths of all responses that were read, one array a comparison."""
    logits, tokens = [], []
    for judged in distinct(judgments):
        read = [(logit, size) for logit, size in zip(judged.logits, judged.lengths, strict=True) if logit is not None]
        if len(read) > 1:
            own = np.array(read, dtype=np.float64)
            logits.append(own[:, 0])
            tokens.append(own[:, 1])
    return logits, tokens


def _part(pairs: Pairs, inside: Any) -> Share:
    return share(pairs.right[inside], pairs.prompt[inside])


def _spearman(logits: Floats, tokens: Floats) -> float | None:
    return float(stats.spearmanr(logits, tokens).statistic) if _varies(logits) and _varies(tokens) else None


def _varies(values: Floats) -> bool:
    return len(values) > 2 and bool(np.ptp(values) > 1e-12)
