"""A reward model, trained on a snapshot of rankings."""

from dataclasses import replace

from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage
from annotate.models import Snapshot
from rlhf.loop import calibration_data, versions
from rlhf.loop.rolling import training_rows
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.spec import (
    Heartbeat,
    Role,
    StageData,
    StageInput,
    StageSpec,
    latest_reward_model,
    ready_snapshot,
    reference_of_policy,
    split_data,
)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    """Rankings, and the responses that calibrate the scores: demonstrations, and samples of the initial model."""
    source = run.run_inputs.get(role=Role.MODEL).version
    none_held_out = StoredMessage("no_held_out_judgment")
    if run.options.get("rolling") and source.kind == ModelVersion.Kind.REWARD:
        paths = training_rows.files(run, ready_snapshot(run, heartbeat), source=source, folder=files.inputs)
        found = StageData(files=paths, notes=() if "--eval" in paths else (none_held_out,))
    else:
        found = split_data(run, files, heartbeat, none_held_out=none_held_out)
    # The scores of a model that is trained on keep the scale of the one that it began as.
    reference = versions.reference(source) if source.kind == ModelVersion.Kind.REWARD else source
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
