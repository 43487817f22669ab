"""Export of a version as a GGUF file (rlhf.model_registry.exporting). The file stays in the run's folder."""

from typing import Any

from django.utils.translation import gettext_noop

from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, active_policy

FILE = "model.gguf"


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    return StageData(files={})


def flags(run: TrainingRun) -> list[str]:
    return ["--type", run.options["type"], "--name", run.options["name"]]


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    return files.summary()


SPEC = StageSpec(
    stage=Stage.GGUF,
    activity=gettext_noop("writing the GGUF file"),
    inputs=(StageInput(role=Role.MODEL, default=active_policy),),
    data=data,
    flags=flags,
    output=FILE,
    collect=collect,
)
