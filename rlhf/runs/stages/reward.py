"""A reward model, trained on a snapshot of rankings."""

from dataclasses import replace

from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage
from annotate.models import Snapshot
from rlhf.loop import calibration_data
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.spec import (
    Heartbeat,
    Role,
    StageData,
    StageInput,
    StageSpec,
    latest_reward_model,
    reference_of_policy,
    split_data,
)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    """Rankings, and the responses that calibrate the scores: demonstrations, and samples of the initial model."""
    found = split_data(run, files, heartbeat, none_held_out=StoredMessage("no_held_out_judgment"))
    reference = run.run_inputs.get(role=Role.MODEL).version
    scale = calibration_data.files(run.project, reference=reference, folder=files.inputs)
    return replace(found, files={**found.files, **scale})


SPEC = StageSpec(
    stage=Stage.REWARD,
    title=gettext_lazy("Train reward model"),
    activity=gettext_noop("training on judgments"),
    inputs=(
        StageInput(role=Role.MODEL, default=reference_of_policy),
        StageInput(role=Role.PREVIOUS, default=latest_reward_model, is_required=False, is_on_pages=False),
    ),
    snapshot=Snapshot.Kind.RANKINGS,
    data=data,
    kind=ModelVersion.Kind.REWARD,
)
