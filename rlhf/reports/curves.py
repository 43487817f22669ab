"""Curves of runs, thinned by the database, and the numbers by which runs and models are known."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, BigIntegerField, Exists, F, Max, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Cast

from models_core.contract.reports.metric_names import MEASURES, root
from rlhf.models import RunMetric, TrainingRun
from rlhf.reports import labels

BUCKETS = 300
"""Intervals of steps that a curve is drawn from: more are no clearer on a screen."""
MOST_CURVES = 200
"""Metrics of a request."""
OTHERS_OFFERED = 24
"""Runs that the page of one offers to draw over it."""
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

Series = dict[str, list[list[float]]]
"""{name: [steps, means, minima, maxima]} of each bucket in ascending order; minima and maxima are left out where every
bucket holds one value."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A range of steps, both ends included. None: from the first, to the last."""

    low: int | None = None
    high: int | None = None

    @property
    def condition(self) -> Q:
        found = Q()
        if self.low is not None:
            found &= Q(step__gte=self.low)
        if self.high is not None:
            found &= Q(step__lte=self.high)
        return found


ALL = Steps()


def names_of(run: TrainingRun) -> list[str]:
    """The metrics that a run has reported, in their order on a page."""
    # One look into the index per name: a run of 100,000 rows has few names.
    found: list[str] = []
    rows = RunMetric.objects.filter(run=run).order_by("name").values_list("name", flat=True)
    name = rows.first()
    while name is not None:
        found.append(name)
        name = rows.filter(name__gt=name).first()
    return sorted(found, key=_place)


def series(run: TrainingRun, names: Iterable[str] | None = None, *, steps: Steps = ALL) -> Series:
    """Each metric in at most BUCKETS buckets of equal width, with the mean, the least and the greatest value of each.

    The database groups the rows, so that a run of 100,000 costs a page no more than the buckets do.
    """
    rows = RunMetric.objects.filter(steps.condition, run=run)
    wanted = names_of(run) if names is None else list(names)[:MOST_CURVES]
    found = {name: _buckets(rows.filter(name=name)) for name in wanted}
    return {name: found[name] for name in sorted(found, key=_place) if found[name]}


def _buckets(rows: QuerySet[RunMetric]) -> list[list[float]]:
    """[steps, means, minima, maxima]; [] without rows."""
    ends = rows.order_by().aggregate(low=Min("step"), high=Max("step"))
    if ends["low"] is None:
        return []
    # The last step has a bucket of its own: a curve ends with the value that its run ended with.
    low, span = ends["low"], max(1, ends["high"] - ends["low"])
    place = (Cast(F("step"), BigIntegerField()) - low) * (BUCKETS - 1) / span
    grouped = (
        rows.annotate(bucket=place)
        .order_by()
        .values("bucket")
        .annotate(at=Min("step"), mean=Avg("value"), least=Min("value"), greatest=Max("value"))
        .order_by("bucket")
        .values_list("at", "mean", "least", "greatest")
    )
    columns = [list(column) for column in zip(*grouped, strict=True)]
    return columns[:2] if columns[2] == columns[3] else columns


def rows(runs: Sequence[TrainingRun], names: Sequence[str] = (), *, steps: Steps = ALL) -> Iterator[tuple[Any, ...]]:
    """(run, metric, step, value) of every row, for a file; of some metrics where they are named."""
    found = RunMetric.objects.filter(steps.condition, run__in=[run.pk for run in runs])
    found = found.filter(name__in=names[:MOST_CURVES]) if names else found
    yield from found.order_by("run", "name", "step").values_list("run", "name", "step", "value").iterator()


def reward_kl_curve(run: TrainingRun) -> dict[str, list[list[float]]]:
    """Score over the root of the divergence, {name: [roots, scores]} in ascending order; {} where nothing says both.

    The curve of Gao, Schulman and Hilton 2022 (2210.10760): it bends down on held-out prompts where a policy has come
    to game its reward.
    """
    wanted = [name for pair in MEASURES.values() for name in pair]
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for name, step, value in RunMetric.objects.filter(run=run, name__in=wanted).values_list("name", "step", "value"):
        values[name][step] = value
    found = {}
    for name, (kl, score) in MEASURES.items():
        points = sorted((root(far), values[score][step]) for step, far in values[kl].items() if step in values[score])
        if points:
            stride = math.ceil(len(points) / (2 * BUCKETS))
            kept = points[::stride] if points[::stride][-1] == points[-1] else [*points[::stride], points[-1]]
            found[name] = [list(column) for column in zip(*kept, strict=True)]
    return found


def last_step(run: TrainingRun) -> int | None:
    newest: int | None = RunMetric.objects.filter(run=run).order_by().aggregate(step=Max("step"))["step"]
    return newest


def latest(run: TrainingRun) -> dict[str, float]:
    """The metrics of the last step."""
    newest = last_step(run)
    if newest is None:
        return {}
    return dict(RunMetric.objects.filter(run=run, step=newest).order_by().values_list("name", "value"))


def numbers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a result as (name, text)."""
    found = {
        name: value for name, value in result.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return [(labels.in_words(name), shown(found[name])) for name in sorted(found, key=_place)]


def headline(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The two or three numbers by which a run or a model is known; none where it has other ones."""
    found = [name for name in HEADLINES if isinstance(metrics.get(name), int | float)]
    return [(labels.in_words(name), shown(metrics[name])) for name in found[:3]]


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def others_with_curves(run: TrainingRun) -> QuerySet[TrainingRun]:
    """The newest other runs of the project's same stage that have reported numbers."""
    others = run.project.training_runs.filter(stage=run.stage).exclude(pk=run.pk)
    has_curves = Exists(RunMetric.objects.filter(run=OuterRef("pk")))
    return others.filter(has_curves).order_by("-pk")[:OTHERS_OFFERED]
