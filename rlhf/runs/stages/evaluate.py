"""Head-to-head evaluation: win rate of a model against another on test prompts, by a reward model."""

from typing import Any

from django.utils.translation import gettext_lazy, gettext_noop

from rlhf.loop import prompts
from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import (
    Heartbeat,
    Role,
    StageData,
    StageInput,
    StageSpec,
    active_policy,
    reference_of_policy,
    reward_model,
)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    path = files.inputs / "prompts.jsonl"
    if not path.exists():
        prompts.write(prompts.held_out(run.project), path)
    return StageData(files={"--data": path})


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    return files.summary()


SPEC = StageSpec(
    stage=Stage.EVALUATE,
    title=gettext_lazy("Evaluate head to head"),
    activity=gettext_noop("evaluating"),
    inputs=(
        StageInput(role=Role.MODEL, default=active_policy),
        StageInput(role=Role.AGAINST, default=reference_of_policy),
        StageInput(role=Role.REWARD, default=reward_model),
    ),
    data=data,
    output="report.json",
    collect=collect,
)
