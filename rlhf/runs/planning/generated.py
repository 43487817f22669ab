"""Samplings and evaluations: how many responses a run generates, and the time that each of them took."""

from collections.abc import Mapping
from typing import Any

from annotate.models import Project, Prompt
from rlhf.models import Stage, TrainingRun

STAGES = (Stage.SAMPLE, Stage.EVALUATE)
"""Their steps are responses."""


def expected(project: Project, *, stage: str, options: Mapping[str, Any]) -> int | None:
    """How many responses a run of the stage would generate. options: prompts and samples of a sampling."""
    if stage == Stage.EVALUATE:
        return 2 * project.prompts.filter(split=Prompt.Split.TEST).count() or None
    prompts, samples = options.get("prompts"), options.get("samples")
    if not prompts or not samples:
        return None
    offered = project.prompts.filter(opening=None).exclude(split=Prompt.Split.TEST).count()
    return min(prompts, offered) * samples or None


def times(run: TrainingRun) -> tuple[float, float] | None:
    """(seconds beside generation, seconds a response) of a run that was not resumed; None where they are not known.

    Beside generation are the start of its process, the scores of a reward model, and what is stored at the end.
    """
    seconds, responses = run.result.get("seconds"), _responses(run)
    if run.attempt != 1 or not isinstance(seconds, float) or not responses:
        return None
    if run.started_at is None or run.finished_at is None:
        return None
    whole = (run.finished_at - run.started_at).total_seconds()
    return max(0.0, whole - seconds), seconds / responses


def _responses(run: TrainingRun) -> int:
    if run.stage == Stage.EVALUATE:
        return 2 * int(run.result.get("prompts") or 0)
    return int(run.result.get("responses") or 0)
