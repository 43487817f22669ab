"""Import of a model folder or Hub id as a version of the project (rlhf.model_registry.importing)."""

from django.utils.translation import gettext_noop

from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.spec import Heartbeat, StageData, StageSpec


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    return StageData(files={})


def flags(run: TrainingRun) -> list[str]:
    return ["--model", run.options["model"], "--kind", run.options["kind"]]


def kind(run: TrainingRun) -> ModelVersion.Kind:
    return ModelVersion.Kind(run.options["kind"])


SPEC = StageSpec(
    stage=Stage.IMPORT,
    activity=gettext_noop("checking and copying the model"),
    inputs=(),
    data=data,
    flags=flags,
    kind=kind,
)
