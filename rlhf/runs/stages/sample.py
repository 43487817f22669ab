"""Sampling: responses of a model, as comparisons for the queue or for the requests of labelers.

A reward model chooses among candidates where best_of is above 1.
"""

import json
from typing import Any

from django.utils.translation import gettext_lazy, gettext_noop

from rlhf.loop import prompts, sampling
from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, active_policy, none


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    path = files.inputs / "prompts.jsonl"
    if not path.exists():
        prompts.write(sampling.prompts_of(run), path)
    return StageData(files={"--data": path})


def flags(run: TrainingRun) -> list[str]:
    return ["--samples", str(run.options["samples"])]


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    with SPEC.output_path(files).open(encoding="utf-8") as file:
        rows = (json.loads(line) for line in file if line.strip())
        return files.summary() | sampling.store(run, lease, rows)


SPEC = StageSpec(
    stage=Stage.SAMPLE,
    title=gettext_lazy("Sample responses"),
    activity=gettext_noop("generating responses"),
    inputs=(
        StageInput(role=Role.MODEL, default=active_policy),
        StageInput(role=Role.REWARD, default=none, is_required=False),
    ),
    data=data,
    flags=flags,
    output="responses.jsonl",
    collect=collect,
)
