"""Measurements before a run: a few of its steps in a run of their own (rlhf.runs.stages.measure).

A measurement is of a shape: the stage, the sizes of the models, and the settings that a step's time and memory depend
on (rlhf.runs.planning.shapes). Its run keeps it, so that it holds for every later run of the shape on the same queue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.data import snapshots
from annotate.data.stored_messages import refusal
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from models_core.contract.errors import BadInput
from models_core.contract.settings import TrainingSettings, parse, settings_of
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import estimates, runs
from rlhf.runs.planning import shapes
from rlhf.runs.queues import workers
from rlhf.runs.stages import measure
from rlhf.runs.stages.registry import STAGE_SPECS

MOST_LOOKED_AT = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What was measured: seconds_per_step is None where no step was finished in `limit` seconds.

    peak_memory: bytes of the device, "cpu" or the name of a GPU.
    """

    run: TrainingRun
    seconds_per_step: float | None
    limit: float
    peak_memory: int
    device: str = "cpu"

    @property
    def gpu(self) -> str:
        """The name of the GPU that was measured on; empty for a processor."""
        return "" if self.device == "cpu" else self.device


def why_not(stage: str, config: Mapping[str, Any]) -> str:
    """Why a run of these settings can't be measured, for the reader; empty where it can."""
    if stage not in measure.SPECS:
        return _("Only trainings are measured.")
    parsed = parse(settings_of(stage), config)
    if isinstance(parsed, TrainingSettings) and parsed.processes > 1:
        return _("A measurement computes in one process, so a run of several can’t be measured.")
    return ""


def start(
    *,
    project: Project,
    stage: str,
    by: User | None,
    config: Mapping[str, Any],
    inputs: Mapping[str, ModelVersion],
    ensemble: Sequence[ModelVersion],
    snapshot: Snapshot | None,
    options: Mapping[str, str],
) -> TrainingRun:
    """Queue a measurement of the run that is described. Raises Refused, also where that run could not be started.

    Without a snapshot the newest one of the kind is measured with, or a new one where there is none.
    """
    parsed = runs.checked_settings(settings_of(stage), config)
    if reason := why_not(stage, config):
        raise Refused(reason, status=400)
    used = {role: version for role, version in inputs.items() if role in measure.ROLES}
    models = [*used.values(), *ensemble]
    queue = runs.training_queue()
    estimates.refuse_impossible(stage=stage, config=config, queue=queue, models=models, snapshot=snapshot)
    kind = STAGE_SPECS[stage].snapshot
    with transaction.atomic():  # one that is refused leaves no snapshot behind
        # The lock of the project lets the second of two clicks see what the first has queued.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if unfinished(stage=stage, config=config, queue=queue, models=models, project=project) is not None:
            raise Refused(_("This is being measured already."))
        if kind and snapshot is None:
            snapshot = _usual_snapshot(project, kind) or snapshots.request(project=project, kind=kind, by=by)
        return runs.enqueue(
            project=project,
            stage=Stage.MEASURE,
            config={},
            options={"stage": stage, "config": {name: getattr(parsed, name) for name in config}, **options},
            inputs=used,
            ensemble=ensemble,
            snapshot=snapshot,
            by=by,
        )


def _usual_snapshot(project: Project, kind: str) -> Snapshot | None:
    ready = project.snapshots.filter(kind=kind, format="hone", state=Snapshot.State.READY)
    return ready.order_by("-pk").first()


def latest(*, stage: str, config: Mapping[str, Any], queue: str, models: Iterable[ModelVersion]) -> Measurement | None:
    """The newest measurement of the shape on the queue, of whichever project."""
    for run in _of_shape(stage, config, queue, models, status=TrainingRun.Status.SUCCEEDED):
        memory = run.result.get("peak_memory")
        if isinstance(memory, int):
            seconds, limit = run.result.get("seconds_per_step"), run.result.get("measured_seconds")
            return Measurement(
                run=run,
                seconds_per_step=seconds if isinstance(seconds, float) else None,
                limit=float(limit or measure.SECONDS),
                peak_memory=memory,
                device=str(run.result.get("device") or "cpu"),
            )
    return None


def unfinished(
    *, stage: str, config: Mapping[str, Any], queue: str, models: Iterable[ModelVersion], project: Project
) -> TrainingRun | None:
    """The project's measurement of the shape that waits or runs."""
    waiting = [TrainingRun.Status.QUEUED, TrainingRun.Status.RUNNING, TrainingRun.Status.LOST]
    return next(_of_shape(stage, config, queue, models, status__in=waiting, project=project), None)


def newest_failure(
    *, stage: str, config: Mapping[str, Any], queue: str, models: Iterable[ModelVersion], project: Project
) -> TrainingRun | None:
    """The project's newest measurement of the shape, where it failed."""
    newest = next(_of_shape(stage, config, queue, models, status__in=TrainingRun.ENDED, project=project), None)
    return newest if newest is not None and newest.status == TrainingRun.Status.FAILED else None


def refuse_too_large(*, stage: str, config: Mapping[str, Any], models: Iterable[ModelVersion]) -> None:
    """Raise Refused (400) for a run of a shape that was measured to need more memory than the workers' machine has."""
    queue = runs.training_queue()
    found, offered = latest(stage=stage, config=config, queue=queue, models=models), workers.capacity(queue)["memory"]
    # What a GPU offers is not known here: a run that it can't hold says so itself.
    if found is not None and not found.gpu and offered is not None and found.peak_memory > offered:
        raise refusal(
            "measured_too_much_memory", status=400, needed={"bytes": found.peak_memory}, offered={"bytes": offered}
        )


def _of_shape(
    stage: str, config: Mapping[str, Any], queue: str, models: Iterable[ModelVersion], **filters: Any
) -> "Any":
    """Runs that measure the shape, the newest first; of the newest MOST_LOOKED_AT measurements of the stage."""
    wanted, sizes = shapes.of(stage, config), _sizes(models)
    measured = TrainingRun.objects.filter(stage=Stage.MEASURE, options__stage=stage, queue=queue, **filters)
    for run in measured.prefetch_related("run_inputs__version").order_by("-pk")[:MOST_LOOKED_AT]:
        read = sorted(run.run_inputs.all(), key=lambda item: item.role != RunInput.Role.MODEL)
        try:
            found = shapes.of(stage, run.options["config"])
        except BadInput:  # of an earlier version
            continue
        if found == wanted and _sizes(item.version for item in read) == sizes:
            yield run


def _sizes(models: Iterable[ModelVersion]) -> list[int]:
    """Parameters of the models: the one that learns, then the others in order; 0 where that is not known."""
    sizes = [estimates.parameters_of(version) or 0 for version in models]
    return [*sizes[:1], *sorted(sizes[1:])]
