"""Samplings and evaluations: how many responses a run generates, and the time that each of them took."""

from collections.abc import Mapping
from typing import Any

from annotate.models import Project, Prompt
from rlhf.loop import prompts
from rlhf.models import Stage, TrainingRun

STAGES = (Stage.SAMPLE, Stage.EVALUATE)
"""Their steps are responses."""


def expected(project: Project, *, stage: str, options: Mapping[str, Any]) -> int | None:
    """How many responses a run of the stage would generate. options: prompts and samples of a sampling."""
    if stage == Stage.EVALUATE:
        return 2 * prompts.of_split(project, Prompt.Split.TEST).count() or None
    count, samples = options.get("prompts"), options.get("samples")
    if not count or not samples:
        return None
    return min(count, prompts.offered_for_sampling(project).count()) * samples or None


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
