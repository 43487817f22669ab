"""AI feedback: comparisons judged by an AI labeler, a chat model or a reward model."""

from typing import Any

from django.utils.translation import gettext_noop

from rlhf.ai_feedback import endpoints, judge_runs
from rlhf.loop import prompts
from rlhf.models import AIJudge, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, none


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    path = files.inputs / "tasks.jsonl"
    if not path.exists():
        prompts.write(judge_runs.rows_of(run), path)
    judge = judge_runs.labeler_of(run).judge
    settings = {}
    if judge.kind == AIJudge.Kind.ENDPOINT and (variable := endpoints.find(judge.endpoint).key_variable):
        settings["key_variable"] = variable
    return StageData(files={"--data": path}, settings=settings)


def flags(run: TrainingRun) -> list[str]:
    """The server's address; a reward model is an input, which has its own flag."""
    judge = judge_runs.labeler_of(run).judge
    return ["--model", endpoints.find(judge.endpoint).address] if judge.kind == AIJudge.Kind.ENDPOINT else []


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    return files.summary() | judge_runs.store(run, lease, SPEC.output_path(files))


SPEC = StageSpec(
    stage=Stage.JUDGE,
    activity=gettext_noop("judging comparisons"),
    inputs=(StageInput(role=Role.MODEL, default=none, is_required=False, is_on_pages=False),),
    data=data,
    flags=flags,
    output=judge_runs.OUTPUT,
    resumes_output=True,
    collect=collect,
)
