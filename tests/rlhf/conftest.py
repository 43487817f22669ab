"""A project whose base model is a random model of a few thousand parameters, with prompts and judgments."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from django.conf import settings

from annotate.labeling import queue
from annotate.labeling.queue import Submission
from annotate.models import Prompt
from models_core.contract.settings import STAGES
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunInput, RunMetric, Stage, TrainingRun
from rlhf.reports import labels
from rlhf.runs import runs
from tests.factories.cast import Cast, cast, make_prompt, make_responses

__all__ = ["cast"]

TINY = {"precision": "fp32", "max_length": 128}
SAMPLING = {**TINY, "max_new_tokens": 4}


@pytest.fixture(autouse=True)
def no_earlier_run_folders() -> None:
    """A test whose rows are rolled back leaves its run folders, and the next run may get the same number."""
    shutil.rmtree(settings.HONE_DATA / "runs", ignore_errors=True)


@pytest.fixture
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker hears of what is queued."""
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": None)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A random model in the data folder, where workers find it too."""
    from tests.models_core.tiny import make_tiny_model

    return make_tiny_model(settings.HONE_DATA / "tiny")


@pytest.fixture
def base(cast: Cast, tiny_model: Path, settings: object) -> ModelVersion:
    settings.HONE_BASE_MODEL = str(tiny_model)  # type: ignore[attr-defined]
    return versions.base(cast.project)


@pytest.fixture
def queued(cast: Cast, base: ModelVersion) -> Callable[..., TrainingRun]:
    """Queues a sampling run of the base model: the shortest real run there is."""

    def queue_run(**values: object) -> TrainingRun:
        arguments = {
            "project": cast.project,
            "stage": Stage.SAMPLE,
            "config": SAMPLING,
            "options": {"samples": 2, "prompts": 2},
            "inputs": {RunInput.Role.MODEL: base},
            "by": cast.manager,
        }
        return runs.enqueue(**{**arguments, **values})  # type: ignore[arg-type]

    return queue_run


def assert_labeled(run: TrainingRun) -> None:
    """Every number that a run reports has a label on its page."""
    numbers = {name for name, value in run.result.items() if isinstance(value, int | float)}
    steps = set(RunMetric.objects.filter(run=run).values_list("name", flat=True))
    settings = {field.name for stage in STAGES.values() for field in fields(stage)}
    assert (numbers | steps) - labels.METRICS.keys() - settings == set()


def make_prompts(cast: Cast, count: int, *, first: int = 0) -> list[Prompt]:
    return [make_prompt(cast.project, f"What is {number} plus one?") for number in range(first, first + count)]


def make_judgments(cast: Cast, count: int, *, first: int = 0) -> None:
    """Prompts with three responses each, ranked by the labeler: the shorter the better."""
    for prompt in make_prompts(cast, count, first=first):
        queue.add_comparison(
            project=cast.project,
            prompt=prompt,
            responses=make_responses(prompt, "A.", "Well, it is B.", "I think that it is C."),
        )
    while (assignment := queue.claim_next(labeler=cast.labeler, project=cast.project)) is not None:
        tiers = [[response.pk] for response in assignment.task.responses.order_by("pk")]
        submission = Submission(client_id=uuid.uuid4(), tiers=tiers)
        queue.submit(assignment_id=assignment.pk, labeler=cast.labeler, submission=submission)
