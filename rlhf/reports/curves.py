"""Numbers of runs and models, in the order in which people look for them."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from models_core.contract.reports.metric_names import MEASURES, root
from rlhf.models import RunMetric, TrainingRun
from rlhf.reports import labels

MOST_POINTS = 600
"""More points than that are no clearer on a screen."""
FIRST = (
    "loss", "reward", "score", "eval_reward", "eval_score", "kl", "eval_kl", "accuracy", "eval_accuracy", "entropy",
    "length",
)  # fmt: skip
HEADLINES = (
    "accuracy",
    "eval_score",
    "eval_kl",
    "score",
    "reward",
    "kl",
    "loss",
    "eval_loss",
    "perplexity",
    "win_rate",
)


def series(run: TrainingRun) -> dict[str, list[list[float]]]:
    """{name: [steps, values]}, thinned to what a screen can show; the last point always stays."""
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = RunMetric.objects.filter(run=run).order_by("name", "step").values_list("name", "step", "value")
    for name, step, value in rows:
        points[name].append((step, value))
    thinned = {name: _thinned(found) for name, found in points.items()}
    return {name: [list(column) for column in zip(*thinned[name], strict=True)] for name in sorted(thinned, key=_place)}


def reward_kl_curve(series: Mapping[str, list[list[float]]]) -> dict[str, list[list[float]]]:
    """Score over the root of the divergence, {name: [roots, scores]} in ascending order; {} where nothing says both.

    The curve of Gao, Schulman and Hilton 2022 (2210.10760): it bends down on held-out prompts where a policy has come
    to game its reward.
    """
    found = {}
    for name, (kl, score) in MEASURES.items():
        if kl not in series or score not in series:
            continue
        scores = dict(zip(*series[score], strict=True))
        points = [(root(far), scores[step]) for step, far in zip(*series[kl], strict=True) if step in scores]
        if points:
            found[name] = [list(column) for column in zip(*sorted(points), strict=True)]
    return found


def latest(run: TrainingRun) -> list[tuple[str, str]]:
    """The metrics of the last step as (name, text)."""
    newest = RunMetric.objects.filter(run=run).order_by("-step").first()
    if newest is None:
        return []
    metrics = RunMetric.objects.filter(run=run, step=newest.step)
    ordered = sorted(metrics, key=lambda metric: _place(metric.name))
    return [(labels.in_words(metric.name), f"{metric.value:.4g}") for metric in ordered]


def numbers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a result as (name, text)."""
    found = {
        name: value for name, value in result.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return [(labels.in_words(name), shown(found[name])) for name in sorted(found, key=_place)]


def headline(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The two or three numbers by which a model is known."""
    found = [name for name in HEADLINES if isinstance(metrics.get(name), int | float)]
    return [(labels.in_words(name), shown(metrics[name])) for name in found[:3]]


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    stride = math.ceil(len(points) / MOST_POINTS)
    kept = points[::stride]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]
