"""Rows of an older database after the migrations that rename tables and columns, on PostgreSQL.

test_upgrade migrates a file of SQLite. One way back and forth for all of them: it takes tens of seconds.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.apps.registry import Apps
from django.db import connection
from django.utils import timezone

from annotate.data.text_search import search_index, search_words
from annotate.models import Prompt, Response, ResponseRequest, Task
from rlhf.loop import versions
from rlhf.models import Promotion
from tests.databases.earlier_database import earlier_database
from tests.factories.cast import Cast, make_comparison, make_prompt, make_responses

EARLIER = [("annotate", "0017_prompt_changes"), ("rlhf", "0004_reward_models_beside")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(1200)
def test_rows_of_an_older_database_are_kept(cast: Cast) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("runs on PostgreSQL; of SQLite tests/config/test_upgrade.py migrates an older file")
    prompt = make_prompt(cast.project, "How do I boil an egg?")
    responses = make_responses(prompt, "In water.", "Slowly.")
    task = make_comparison(cast.project, "Another?")
    with earlier_database(EARLIER) as old:
        request = an_earlier_request(old, cast, prompt, responses)
        old.get_model("annotate", "Task").objects.filter(pk=task.pk).update(brief={"instructions": "As a *teacher*."})
        earlier_promotions(old, cast)
    requests_keep_their_responses(cast, request.pk, prompt, responses)
    assert Task.objects.get(pk=task.pk).task_instructions == {"instructions": "As a *teacher*."}
    promotions_are_those_that_the_versions_remember(cast)
    search_index.index_due()
    assert list(search_index.prompts_with(search_words.terms("boil"), most=100)) == [prompt.pk]


def an_earlier_request(old: Apps, cast: Cast, prompt: Prompt, responses: list[Response]) -> Any:
    request = old.get_model("annotate", "AnswerRequest").objects.create(
        project_id=cast.project.pk, prompt_id=prompt.pk, responses_wanted=2, requested_by_id=cast.labeler.pk
    )
    request.responses.set([response.pk for response in responses])
    return request


def requests_keep_their_responses(cast: Cast, request: int, prompt: Prompt, responses: list[Response]) -> None:
    kept = ResponseRequest.objects.get(pk=request)
    assert (kept.prompt, kept.requested_by, kept.responses_wanted) == (prompt, cast.labeler, 2)
    assert list(kept.responses.order_by("pk")) == responses
    assert list(cast.project.response_requests.all()) == [kept]


def earlier_promotions(old: Apps, cast: Cast) -> None:
    """Three policies in use one after the other, then the second again; and a loop that asks for nothing."""
    model, loop = old.get_model("rlhf", "ModelVersion"), old.get_model("rlhf", "LoopPolicy")
    loop.objects.create(project_id=cast.project.pk, judgments_per_round=0, prompts_per_round=0)
    moments = [timezone.now() + timedelta(minutes=minute) for minute in range(3)]
    for number, moment in enumerate(moments, start=1):
        model.objects.create(
            project_id=cast.project.pk, kind="policy", number=number, folder=f"runs/{number}",
            active=number == 2, promoted_at=moment, promoted_by_id=cast.manager.pk,
        )  # fmt: skip


def promotions_are_those_that_the_versions_remember(cast: Cast) -> None:
    changes = list(Promotion.objects.order_by("pk").values_list("verb", "version__number", "replaced__number", "by"))
    by = cast.manager.pk
    assert changes == [
        ("promote", 1, None, by), ("promote", 2, 1, by), ("promote", 3, 2, by), ("roll_back", 2, 3, None),
    ]  # fmt: skip
    second = cast.project.model_versions.get(number=2)
    previous = versions.previous(second)
    assert previous is not None
    assert previous.number == 1
    settings = cast.project.loop_settings
    assert (settings.judgments_per_round, settings.prompts_per_round) == (1, 1)
