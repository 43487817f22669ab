"""How a reward model orders the K responses of a judgment as a whole, and how its scores are spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from models_core.reward_report.heldout_judgments import Judged, prompt_numbers
from models_core.reward_report.measures.intervals import share

HISTOGRAM_BINS = 24


def ordering(judgments: Sequence[Judged]) -> dict[str, Any]:
    """Kendall's tau-b and top-1, means over judgments; a judgment that ties all it ranks says nothing of either.

    `top1_of_chance` is what picking one of the responses blindly would reach.
    """
    prompts = np.array(prompt_numbers([judged.ranking for judged in judgments]), dtype=np.int64)
    orders = [_order(judged) for judged in judgments]
    told = [place for place, (ranks, _) in enumerate(orders) if len(set(ranks)) > 1]
    taus = [tau_b(*orders[place]) for place in told]
    tops = [top1(*orders[place]) for place in told]
    chances = [ranks.count(min(ranks)) / len(ranks) for ranks, _ in (orders[place] for place in told)]
    sizes = [len(ranks) for ranks, _ in (orders[place] for place in told)]
    figures = {"counted": "judgments"}
    return {
        "tau_b": share(np.array(taus), prompts[told], bounds=(-1.0, 1.0)).figures(name="mean", **figures),
        "top1": share(np.array(tops), prompts[told]).figures(name="share", **figures),
        "top1_of_chance": float(np.mean(chances)) if chances else None,
        "most_responses": max(sizes, default=0),
    }


def tau_b(ranks: Sequence[int], logits: Sequence[float]) -> float:
    """Kendall's tau-b of a judgment (rank 1 is best) and the model's logits; 0 where all logits are equal."""
    found = float(stats.kendalltau([-rank for rank in ranks], logits, variant="b").statistic)
    return 0.0 if np.isnan(found) else found


def top1(ranks: Sequence[int], logits: Sequence[float]) -> float:
    """Whether the response that scores highest is one of the best ranked; of several that do, the part of them."""
    highest = [rank for rank, logit in zip(ranks, logits, strict=True) if logit == max(logits)]
    return highest.count(min(ranks)) / len(highest)


def scores(judgments: Sequence[Judged], *, shift: float, scale: float) -> dict[str, Any]:
    """The scores (logit - shift) / scale of the best and the worst ranked responses: spread, quantiles, histogram."""
    best, worst, known = [], [], []
    for judged in judgments:
        ranks, logits = _order(judged)
        own = [(logit - shift) / scale for logit in logits]
        known += own
        if len(set(ranks)) > 1:
            best += [score for rank, score in zip(ranks, own, strict=True) if rank == min(ranks)]
            worst += [score for rank, score in zip(ranks, own, strict=True) if rank == max(ranks)]
    if not known:
        return {}
    # A stray score far out would leave the others one column: the outermost columns hold all that lies beyond.
    inner = np.quantile(known, [0.005, 0.995])
    low, high = (float(inner[0]), float(inner[1])) if inner[1] > inner[0] else (known[0] - 0.5, known[0] + 0.5)
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    return {
        "responses": len(known),
        "mean": float(np.mean(known)),
        "deviation": float(np.std(known)),
        "minimum": min(known),
        "maximum": max(known),
        "quantiles": {f"{part:g}": float(np.quantile(known, part)) for part in (0.05, 0.25, 0.5, 0.75, 0.95)},
        "best": {"mean": float(np.mean(best)) if best else None, "responses": len(best)},
        "worst": {"mean": float(np.mean(worst)) if worst else None, "responses": len(worst)},
        "histogram": {
            "edges": edges.tolist(),
            "best": np.histogram(np.clip(best, low, high), edges)[0].tolist(),
            "worst": np.histogram(np.clip(worst, low, high), edges)[0].tolist(),
        },
    }


def _order(judged: Judged) -> tuple[list[int], list[float]]:
    """Ranks and logits of the responses that have both."""
    ranks = [judged.ranking.responses[place].rank or 0 for place in judged.known]
    return ranks, [judged.logits[place] or 0.0 for place in judged.known]
