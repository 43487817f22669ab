"""Live answers in a chat: asked for on people's side, given by the active policy in a real worker."""

import pytest

from annotate import queue
from annotate.chats import answers, turns
from annotate.models import AnswerRequest, Task
from annotate.projects import edit_project
from rlhf import prompts, runs, sampling
from rlhf.models import LoopPolicy, ModelVersion, TrainingRun
from tests.cast import Cast, make_prompt
from tests.conftest import StartWorker, wait_until

from .conftest import SAMPLING

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deed(cast: Cast, base: ModelVersion) -> dict[str, object]:
    """A chat task in the labeler's hands, as arguments of what he does with it."""
    LoopPolicy.objects.create(project=cast.project, sampling={**SAMPLING, "temperature": 2.0})
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"], responses_per_task=3)
    cast.project.refresh_from_db()
    Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=make_prompt(cast.project))
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    return {"assignment_id": assignment.pk, "labeler": cast.labeler}


@pytest.mark.usefixtures("embedded_broker")
def test_with_nobody_to_give_them_the_labeler_is_told_to_write(cast: Cast, deed: dict[str, object]) -> None:
    chat = turns.ask(**deed, after=0)
    assert "no worker is running" in answers.prospect(cast.project, chat.request).sentence
    assert turns.write(**deed, written="Eight minutes.", after=0).turns[0].text == "Eight minutes."


def test_come_from_the_active_policy_through_a_worker_turn_after_turn(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion, deed: dict[str, object]
) -> None:
    celery_worker_process("default", "cpu")
    chat = turns.ask(**deed, after=0)
    for after in (0, 2):
        request = chat.request
        assert request is not None
        assert answers.prospect(cast.project, request).is_there
        wait_until(
            lambda waited=request: AnswerRequest.objects.get(pk=waited.pk).state == "fulfilled",
            seconds=120,
            what="live answers",
        )
        chat = turns.Chat.of(chat.assignment)
        assert request.responses.count() == 3
        assert {offer.author for offer in chat.offers} == {base.author}
        assert {offer.prompt for offer in chat.offers} == {request.prompt}
        chat = turns.pick(**deed, response_id=chat.offers[0].pk, after=after)
        if after == 0:
            turns.say(**deed, written="And then?", after=1)
            chat = turns.ask(**deed, after=2)
    assert len(chat.turns) == 3
    # Labelers compared them in the chat: nothing of it waits for others, and no model answers its turns by itself.
    assert not Task.objects.filter(project=cast.project, kind="compare").exists()
    assert [row["id"] for row in prompts.next_to_answer(cast.project, count=9)] == [str(chat.opening.pk)]


def test_are_sampled_apart_from_answers_for_the_queue(cast: Cast, base: ModelVersion) -> None:
    prompt = make_prompt(cast.project)
    for purpose in AnswerRequest.Purpose.values:
        AnswerRequest.objects.create(project=cast.project, prompt=prompt, responses_wanted=2, purpose=purpose)
    started = sampling.fulfil(AnswerRequest.objects.values_list("pk", flat=True))
    assert sorted(len(run.options["requests"]) for run in started) == [1, 1]


def test_behind_other_work_or_after_a_failure_are_spoken_of_as_such(
    cast: Cast, deed: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf.workers.listening", lambda: {"default", "cpu"})
    chat = turns.ask(**deed, after=0)
    assert answers.prospect(cast.project, chat.request).sentence == "The model is being woken."
    (run,) = sampling.fulfil([chat.request.pk])
    lease = runs.claim(run_id=run.pk, worker="w")
    runs.renew(lease, progress=0.5)
    assert answers.prospect(cast.project, chat.request).progress == 0.5
    assert "busy (Sampling answers)" in answers.prospect(cast.project).sentence
    runs.fail(lease, error="No memory.")
    sampling.fail_requests(TrainingRun.objects.get(pk=run.pk))
    chat = turns.Chat.of(chat.assignment)
    assert "ask again" in answers.prospect(cast.project, chat.request).sentence
