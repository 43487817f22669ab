"""Supervised fine-tuning on a snapshot of demonstrations."""

from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage
from annotate.models import Snapshot
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.spec import (
    Heartbeat,
    Role,
    StageData,
    StageInput,
    StageSpec,
    reference_of_policy,
    split_data,
)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    return split_data(run, files, heartbeat, none_held_out=StoredMessage("no_held_out_demonstration"))


SPEC = StageSpec(
    stage=Stage.SFT,
    title=gettext_lazy("Fine-tune on demonstrations (SFT)"),
    activity=gettext_noop("training on demonstrations"),
    inputs=(StageInput(role=Role.MODEL, default=reference_of_policy),),
    snapshot=Snapshot.Kind.DEMONSTRATIONS,
    data=data,
    kind=ModelVersion.Kind.SFT,
)
