"""Rows of an older database after the migrations that rename tables and columns, on either database."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from annotate.models import ResponseRequest, Task
from tests.cast import Cast, make_comparison, make_prompt, make_responses


@pytest.mark.django_db(transaction=True)
def test_requests_keep_their_responses_and_tasks_their_instructions(cast: Cast) -> None:
    prompt = make_prompt(cast.project)
    responses = make_responses(prompt, "In water.", "Slowly.")
    task = make_comparison(cast.project, "Another?")
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([("annotate", "0017_prompt_changes")])
        old = executor.loader.project_state([("annotate", "0017_prompt_changes")]).apps
        request = old.get_model("annotate", "AnswerRequest").objects.create(
            project_id=cast.project.pk, prompt_id=prompt.pk, responses_wanted=2, requested_by_id=cast.labeler.pk
        )
        request.responses.set([response.pk for response in responses])
        old.get_model("annotate", "Task").objects.filter(pk=task.pk).update(brief={"instructions": "As a *teacher*."})
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    kept = ResponseRequest.objects.get(pk=request.pk)
    assert (kept.prompt, kept.requested_by, kept.responses_wanted) == (prompt, cast.labeler, 2)
    assert list(kept.responses.order_by("pk")) == responses
    assert list(cast.project.response_requests.all()) == [kept]
    assert Task.objects.get(pk=task.pk).task_instructions == {"instructions": "As a *teacher*."}
