"""Distillation: a student that learns from a teacher, by default the policy in use, on the project's prompts."""

from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage
from annotate.models import Project, Snapshot
from rlhf.loop import versions
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
    return split_data(run, files, heartbeat, none_held_out=StoredMessage("no_held_out_prompt"))


def policy_in_use(project: Project, student: ModelVersion) -> ModelVersion:
    return versions.active_policy(project)


SPEC = StageSpec(
    stage=Stage.DISTIL,
    title=gettext_lazy("Distil a policy into a student"),
    activity=gettext_noop("learning from the teacher"),
    inputs=(
        StageInput(role=Role.MODEL, default=reference_of_policy),
        StageInput(role=Role.TEACHER, default=policy_in_use),
    ),
    snapshot=Snapshot.Kind.PROMPTS,
    data=data,
    kind=ModelVersion.Kind.POLICY,
)
