"""How long a run will take, by the seconds a step took in earlier runs of the same shape on the same queue.

The shape is what a step's time depends on: stage, size of the model that learns, and some settings (shapes.py). Nothing
is computed from a machine's speed: where there was no run of the shape, a measurement says it (measurements.py). The
steps of samplings and evaluations are their responses (generated.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.settings import parse, settings_of
from rlhf.models import ModelVersion, RunInput, TrainingRun
from rlhf.runs import estimates
from rlhf.runs.planning import generated, shapes

MOST_LOOKED_AT = 60
MOST_MEASURED = 5
MEASURE = "seconds_per_step"
"""In a run's result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration:
    """Seconds, the least and the most of `runs` runs. total: None where the number of steps isn't known.

    beside: of a whole run, beside its steps. newest: the key of the newest run.
    """

    runs: int
    step: tuple[float, float]
    steps: int | None
    beside: tuple[float, float] = (0.0, 0.0)
    newest: int = field(default=0, compare=False)

    @property
    def total(self) -> tuple[float, float] | None:
        if self.steps is None:
            return None
        return self.beside[0] + self.step[0] * self.steps, self.beside[1] + self.step[1] * self.steps


def expected(
    *, stage: str, config: Mapping[str, Any], queue: str, models: Iterable[ModelVersion], rows: int | None
) -> Duration | None:
    """By the newest runs of the same shape. models: the one that learns first. rows: or responses to generate."""
    first = next(iter(models), None)
    size = estimates.parameters_of(first) if first is not None else None
    wanted = shapes.of(stage, config)
    ended = TrainingRun.objects.filter(stage=stage, queue=queue, status=TrainingRun.Status.SUCCEEDED)
    found: list[tuple[float, float]] = []
    newest = 0
    sizes: dict[int, int | None] = {}
    columns = ("pk", "stage", "config", "result", "attempt", "started_at", "finished_at")
    recent = ended.only(*columns).prefetch_related("run_inputs__version").order_by("-pk")
    for run in recent[:MOST_LOOKED_AT]:
        times = _times(run)
        if times is None or not _is_of_shape(run, wanted):
            continue
        learned = next((item.version for item in run.run_inputs.all() if item.role == RunInput.Role.MODEL), None)
        if learned is not None and learned.pk not in sizes:
            sizes[learned.pk] = estimates.parameters_of(learned)
        if (sizes[learned.pk] if learned is not None else None) == size:
            found.append(times)
            newest = max(newest, run.pk)
        if len(found) == MOST_MEASURED:
            break
    if not found:
        return None
    is_generated = stage in generated.STAGES
    beside, step = ((min(each), max(each)) for each in zip(*found, strict=True))
    return Duration(
        runs=len(found),
        step=step,
        steps=rows if is_generated else estimates.steps_of(parse(settings_of(stage), config), rows),
        beside=beside,
        newest=newest,
    )


def _times(run: TrainingRun) -> tuple[float, float] | None:
    """(seconds beside the steps, seconds a step) of an ended run; None where they are not known."""
    if run.stage in generated.STAGES:
        return generated.times(run)
    seconds = run.result.get(MEASURE)
    return (0.0, seconds) if isinstance(seconds, float) else None


def _is_of_shape(run: TrainingRun, wanted: tuple[Any, ...]) -> bool:
    try:
        return shapes.of(run.stage, run.config) == wanted
    except BadInput:  # of an earlier version
        return False
