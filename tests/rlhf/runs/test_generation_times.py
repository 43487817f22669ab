"""How long samplings and evaluations will take: by the responses of earlier runs, and what went before and after."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.models import Prompt
from rlhf.models import ModelVersion, RunInput, TrainingRun
from rlhf.runs.planning import durations, generated
from tests.factories.cast import Cast, make_prompt

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


def ended(cast: Cast, base: ModelVersion, *, stage: str, whole: float, **values: Any) -> TrainingRun:
    """A run that took `whole` seconds in all."""
    now = timezone.now()
    run = TrainingRun.objects.create(
        project=cast.project, stage=stage, queue="cpu", status="succeeded",
        **{"attempt": 1, "started_at": now - timedelta(seconds=whole), "finished_at": now, **values},
    )  # fmt: skip
    run.run_inputs.create(version=base, role=RunInput.Role.MODEL)
    return run


def shown(cast: Cast, stage: str) -> str:
    client = Client()
    client.force_login(cast.manager, backend="annotate.people.backends.PasswordBackend")
    page = client.get(reverse("rlhf:new_run", args=[cast.project.slug, stage])).content.decode()
    return " ".join(page.split())


def test_a_sampling_takes_its_start_and_a_time_for_each_response(cast: Cast, base: ModelVersion) -> None:
    for number in range(5):
        make_prompt(cast.project, f"What is {number} plus one?")
    Prompt.objects.update(split=Prompt.Split.TRAIN)
    assert "unknown: no run of this shape has ended on this queue yet" in shown(cast, "sample")
    done = {"responses": 100, "prompts": 25}
    ended(cast, base, stage="sample", whole=60, result={**done, "seconds": 50.0})
    ended(cast, base, stage="sample", whole=220, result={**done, "seconds": 200.0})
    # Other work, or not all of it: none of these says how long the next one takes.
    ended(cast, base, stage="sample", whole=900, result={**done, "seconds": 800.0}, config={"weight_format": "int8"})
    ended(cast, base, stage="sample", whole=900, result={**done, "seconds": 800.0}, attempt=2)
    ended(cast, base, stage="sample", whole=900, result={**done, "seconds": 800.0}, config={"no_such": 1})
    ended(cast, base, stage="sample", whole=900, result={**done, "seconds": 800.0}, started_at=None)
    found = durations.expected(stage="sample", config={}, queue="cpu", models=[base], rows=240)
    assert found == durations.Duration(runs=2, step=(0.5, 2.0), steps=240, beside=(10.0, 20.0))
    assert found.total == (130.0, 500.0)
    offered = cast.project.prompts.filter(opening=None).exclude(split="test").count()
    options = {"prompts": 10_000, "samples": 4}
    assert generated.expected(cast.project, stage="sample", options=options) == 4 * offered
    assert generated.expected(cast.project, stage="sample", options=options | {"prompts": 2}) == 8
    assert "by 2 earlier runs of this shape" in shown(cast, "sample")


def test_an_evaluation_responds_twice_to_each_test_prompt(cast: Cast, base: ModelVersion) -> None:
    assert generated.expected(cast.project, stage="evaluate", options={}) is None
    for number in range(3):
        make_prompt(cast.project, f"What is {number} plus two?")
    Prompt.objects.update(split=Prompt.Split.TEST)
    tested = cast.project.prompts.count()
    assert generated.expected(cast.project, stage="evaluate", options={}) == 2 * tested
    ended(cast, base, stage="evaluate", whole=30, result={"prompts": 10, "seconds": 20.0})
    found = durations.expected(stage="evaluate", config={}, queue="cpu", models=[base], rows=2 * tested)
    assert found is not None
    assert found.total == (10.0 + 2 * tested, 10.0 + 2 * tested)
