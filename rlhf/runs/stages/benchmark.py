"""Measurement of a version on an uploaded file (rlhf.model_registry.benchmarks), by the command `evaluate`."""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.artefacts import folders
from annotate.artefacts.bucket import StorageAway, fault
from annotate.data.stored_messages import refusal
from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles, document
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, active_policy
from rlhf.runs.storage import run_artefacts


def command(run: TrainingRun) -> list[str]:
    return [Stage.EVALUATE]


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    """Its file lies among its inputs before the run is queued, and is published after that."""
    path = files.inputs / run.options["file"]
    if not path.is_file():
        run_artefacts.fetch(files, heartbeat=heartbeat)
    if not path.is_file():
        if folders.is_on():  # a worker elsewhere may be faster than the upload to the storage
            raise fault("benchmark_file_missing", kind=StorageAway, file=path.name)
        raise refusal("benchmark_file_missing", file=path.name)
    return StageData(files={"--data": path})


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    """The figures of the command's last line; of what is measured by label or language, those of all rows."""
    report = document(SPEC.output_path(files))
    found = {name: value for name, value in files.summary().items() if isinstance(value, int | float | str)}
    if report.get("trained_on"):
        found["trained_on"] = report["trained_on"]
    for part, name in (("labels", "accuracy"), ("responses", "exact_match")):
        if isinstance(of_part := report.get(part), dict) and name in of_part:
            found[name] = of_part[name]
    return found


SPEC = StageSpec(
    stage=Stage.BENCHMARK,
    activity=gettext_noop("measuring on the file"),
    inputs=(StageInput(role=Role.MODEL, default=active_policy),),
    data=data,
    command=command,
    output="report.json",
    collect=collect,
)
