"""Versions with responses to the same prompts, and evaluations of them."""

from collections.abc import Callable
from typing import Any

import pytest

from annotate.labeling import queue
from annotate.models import Assignment, Prompt, Response, User
from rlhf.human_evaluation import evaluations
from rlhf.human_evaluation.evaluations import Plan
from rlhf.models import HumanEvaluation, ModelVersion
from rlhf.runs import runs
from tests.factories.cast import Cast, judge, make_prompt
from tests.factories.head_to_head import make_policies

Start = Callable[..., HumanEvaluation]


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The messages that no worker hears."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": found.append((task, *arguments)))
    return found


def respond(prompt: Prompt, version: ModelVersion, *texts: str) -> list[Response]:
    assert version.author is not None
    return [Response.objects.create(prompt=prompt, author=version.author, text=text) for text in texts]


@pytest.fixture
def versions(cast: Cast) -> list[ModelVersion]:
    """Two policies that have responded to eight prompts, the second one at greater length."""
    first, second = make_policies(cast.project, 2)
    for number in range(8):
        prompt = make_prompt(cast.project, f"What is {number} plus one?")
        respond(prompt, first, f"It is {number + 1}.")
        respond(prompt, second, f"Well, I think that it is {number + 1}.")
    return [first, second]


@pytest.fixture
def start(cast: Cast) -> Start:
    def begin(versions: list[ModelVersion], **values: Any) -> HumanEvaluation:
        """An evaluation of the responses there are, being judged. `advance=False` leaves it as it was started."""
        advance = values.pop("advance", True)
        plan = Plan(versions=versions, **{"split": "", "response_source": "present", **values})
        evaluation = evaluations.start(plan, project=cast.project, by=cast.manager)
        if advance:
            evaluations.advance(evaluation.pk)
        cast.project.refresh_from_db()
        evaluation.refresh_from_db()
        return evaluation

    return begin


@pytest.fixture
def judge_all(cast: Cast) -> Callable[..., list[Assignment]]:
    """Judge what a labeler is given, by the names of the authors from best to worst, until nothing is left."""

    def work(order: list[ModelVersion] | None, labeler: User | None = None, most: int = 100) -> list[Assignment]:
        """order None: all tied."""
        done: list[Assignment] = []
        while len(done) < most:
            held = queue.claim_next(labeler=labeler or cast.labeler, project=cast.project, ahead=False)
            if held is None:
                return done
            author_of = dict(Response.objects.filter(pk__in=held.presentation).values_list("pk", "author"))
            if order is None:
                tiers = [list(held.presentation)]
            else:
                tiers = [[key for key, author in author_of.items() if author == one.author_id] for one in order]
            judge(held, [tier for tier in tiers if tier])
            done.append(held)
        return done

    return work
