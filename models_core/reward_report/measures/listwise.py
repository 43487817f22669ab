"""Listwise metrics over the K responses of a judgment, and the distribution of scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from models_core.reward_report.heldout_judgments import ScoredJudgment, prompt_numbers
from models_core.reward_report.measures.intervals import estimate_mean

HISTOGRAM_BINS = 24


def listwise_metrics(judgments: Sequence[ScoredJudgment]) -> dict[str, Any]:
    """Kendall's tau-b and top-1 accuracy, means over judgments with a strictly ordered pair.

    `top1_of_chance`: top-1 accuracy of a random choice.
    """
    prompts = np.array(prompt_numbers([judgment.ranking for judgment in judgments]), dtype=np.int64)
    orders = [_order(judgment) for judgment in judgments]
    usable = [index for index, (ranks, _) in enumerate(orders) if len(set(ranks)) > 1]
    taus = [tau_b(*orders[index]) for index in usable]
    tops = [top1(*orders[index]) for index in usable]
    probabilities = [ranks.count(min(ranks)) / len(ranks) for ranks, _ in (orders[index] for index in usable)]
    sizes = [len(ranks) for ranks, _ in (orders[index] for index in usable)]
    figures = {"counted": "judgments"}
    return {
        "tau_b": estimate_mean(np.array(taus), prompts[usable], bounds=(-1.0, 1.0)).figures(name="mean", **figures),
        "top1": estimate_mean(np.array(tops), prompts[usable]).figures(name="share", **figures),
        "top1_of_chance": float(np.mean(probabilities)) if probabilities else None,
        "most_responses": max(sizes, default=0),
    }


def tau_b(ranks: Sequence[int], logits: Sequence[float]) -> float:
    """Kendall's tau-b of ranks (1 is best) and logits; 0 for equal logits."""
    found = float(stats.kendalltau([-rank for rank in ranks], logits, variant="b").statistic)
    return 0.0 if np.isnan(found) else found


def top1(ranks: Sequence[int], logits: Sequence[float]) -> float:
    """1 where the highest logit belongs to a best-ranked response; a fraction where several are highest."""
    highest = [rank for rank, logit in zip(ranks, logits, strict=True) if logit == max(logits)]
    return highest.count(min(ranks)) / len(highest)


def score_distribution(judgments: Sequence[ScoredJudgment], *, shift: float, scale: float) -> dict[str, Any]:
    """Scores (logit - shift) / scale: mean, deviation, quantiles, histogram of best and worst ranked responses."""
    best, worst, all_scores = [], [], []
    for judgment in judgments:
        ranks, logits = _order(judgment)
        own = [(logit - shift) / scale for logit in logits]
        all_scores += own
        if len(set(ranks)) > 1:
            best += [score for rank, score in zip(ranks, own, strict=True) if rank == min(ranks)]
            worst += [score for rank, score in zip(ranks, own, strict=True) if rank == max(ranks)]
    if not all_scores:
        return {}
    # An outlier would leave all others in one bin, so the outermost bins hold everything beyond these quantiles.
    inner = np.quantile(all_scores, [0.005, 0.995])
    low, high = (
        (float(inner[0]), float(inner[1])) if inner[1] > inner[0] else (all_scores[0] - 0.5, all_scores[0] + 0.5)
    )
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    return {
        "responses": len(all_scores),
        "mean": float(np.mean(all_scores)),
        "deviation": float(np.std(all_scores)),
        "minimum": min(all_scores),
        "maximum": max(all_scores),
        "quantiles": {f"{part:g}": float(np.quantile(all_scores, part)) for part in (0.05, 0.25, 0.5, 0.75, 0.95)},
        "best": {"mean": float(np.mean(best)) if best else None, "responses": len(best)},
        "worst": {"mean": float(np.mean(worst)) if worst else None, "responses": len(worst)},
        "histogram": {
            "edges": edges.tolist(),
            "best": np.histogram(np.clip(best, low, high), edges)[0].tolist(),
            "worst": np.histogram(np.clip(worst, low, high), edges)[0].tolist(),
        },
    }


def _order(judgment: ScoredJudgment) -> tuple[list[int], list[float]]:
    """Ranks and logits of the responses that have both."""
    ranks = [judgment.ranking.responses[index].rank or 0 for index in judgment.scored_indices]
    return ranks, [judgment.logits[index] or 0.0 for index in judgment.scored_indices]
