"""Scoring open comparisons by a reward ensemble, to order the queue by its disagreement."""

from typing import Any

from django.utils.translation import gettext_noop

from rlhf.loop import active_learning, prompts
from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, reward_model


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    path = files.inputs / "tasks.jsonl"
    if not path.exists():
        prompts.write(active_learning.rows_of(run), path)
    return StageData(files={"--data": path})


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    return files.summary() | active_learning.store(run, lease, SPEC.output_path(files))


SPEC = StageSpec(
    stage=Stage.SCORE,
    activity=gettext_noop("scoring comparisons"),
    inputs=(StageInput(role=Role.MODEL, default=reward_model),),
    data=data,
    output="scores.jsonl",
    collect=collect,
)
