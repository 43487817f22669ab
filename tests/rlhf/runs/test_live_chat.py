"""Live responses in a chat: requested by a labeler, given by the active policy in a real worker."""

import os
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from annotate.data.stored_messages import StoredMessage
from annotate.labeling import queue
from annotate.labeling.chats import live_responses, turns
from annotate.models import Assignment, Demonstration, Response, ResponseRequest, Task
from annotate.people.projects import edit_project
from config.serving.descendants import descendants
from rlhf.loop import prompts, sampling
from rlhf.models import LoopSettings, ModelVersion, TrainingRun
from rlhf.runs import launch, runs
from rlhf.runs.live_responses import live
from tests.conftest import StartWorker, end, is_alive, wait_until
from tests.factories.cast import Cast, make_prompt, make_responses
from tests.rlhf.conftest import SAMPLING, TINY, make_prompts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

SLOW = {**SAMPLING, "max_new_tokens": 64, "batch_invariant": True}
"""Long enough for something to happen while the model responds."""


@pytest.fixture
def chat_of_labeler(cast: Cast, base: ModelVersion) -> dict[str, object]:
    """A chat task in the labeler's hands, as arguments of the actions on it."""
    LoopSettings.objects.create(project=cast.project, sampling={**SAMPLING, "temperature": 2.0})
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"], responses_per_task=3)
    cast.project.refresh_from_db()
    Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=make_prompt(cast.project))
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    return {"assignment_id": assignment.pk, "labeler": cast.labeler}


@pytest.mark.both_databases
@pytest.mark.usefixtures("embedded_broker")
def test_with_nobody_to_give_them_the_labeler_is_told_to_write(cast: Cast, chat_of_labeler: dict[str, object]) -> None:
    chat = turns.ask(**chat_of_labeler, after=0)
    assert "no worker is running" in live_responses.response_status(cast.project, chat.request).message
    assert turns.write(**chat_of_labeler, written="Eight minutes.", after=0).turns[0].text == "Eight minutes."


def test_come_from_the_active_policy_through_a_worker_turn_after_turn(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion, chat_of_labeler: dict[str, object]
) -> None:
    celery_worker_process("default", "live")
    chat = turns.ask(**chat_of_labeler, after=0)
    for after in (0, 2):
        request = chat.request
        assert request is not None
        assert live_responses.response_status(cast.project, request).is_available
        wait_until(
            lambda waited_seconds=request: ResponseRequest.objects.get(pk=waited_seconds.pk).state == "fulfilled",
            seconds=120,
            what="live responses",
        )
        chat = turns.Chat.of(chat.assignment)
        assert request.responses.count() == 3
        assert {candidate.author for candidate in chat.candidates} == {base.author}
        assert {candidate.prompt for candidate in chat.candidates} == {request.prompt}
        chat = turns.pick(**chat_of_labeler, response_id=chat.candidates[0].pk, after=after)
        if after == 0:
            turns.say(**chat_of_labeler, written="And then?", after=1)
            chat = turns.ask(**chat_of_labeler, after=2)
    assert len(chat.turns) == 3
    # Labelers compared them in the chat: nothing of it waits for others, and no model responds to its turns unasked.
    assert not Task.objects.filter(project=cast.project, kind="compare").exists()
    assert [row["id"] for row in prompts.next_for_sampling(cast.project, count=9)] == [str(chat.opening.pk)]


@pytest.mark.both_databases
def test_wait_in_a_queue_of_their_own_one_run_a_request(cast: Cast, base: ModelVersion) -> None:
    for text in ("How?", "Why?"):
        prompt = make_prompt(cast.project, text)
        for purpose in ResponseRequest.Purpose.values:
            ResponseRequest.objects.create(project=cast.project, prompt=prompt, responses_wanted=2, purpose=purpose)
    started = sampling.fulfil(ResponseRequest.objects.values_list("pk", flat=True))
    assert sorted((run.queue, len(run.options["requests"])) for run in started) == [
        ("cpu", 2),
        ("live", 1),
        ("live", 1),
    ]


def test_are_given_while_a_training_holds_the_other_worker_and_the_model_stays_loaded(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion, chat_of_labeler: dict[str, object]
) -> None:
    """The training never ends; a chat of three turns does, and its model is loaded once."""
    for prompt in make_prompts(cast, 8):
        (response,) = make_responses(prompt, "It is.", model="a person")
        Demonstration.objects.create(prompt=prompt, response=response)
    long = {**TINY, "epochs": 1000, "batch_size": 1}
    training = launch.start(project=cast.project, stage="sft", by=cast.manager, config=long)
    celery_worker_process("default", "cpu")
    worker = celery_worker_process("live")
    wait_until(training.run_metrics.exists, seconds=60, what="the training's first step")
    chat, children = turns.ask(**chat_of_labeler, after=0), set()
    for after in (0, 2, 4):
        wait_until(lambda: candidates(chat_of_labeler), seconds=60, what="live responses")
        children.add(live_process(worker))
        chat = turns.pick(**chat_of_labeler, response_id=candidates(chat_of_labeler)[0].pk, after=after)
        if after < 4:
            turns.say(**chat_of_labeler, written="And then?", after=after + 1)
            turns.ask(**chat_of_labeler, after=after + 2)
    assert len(chat.turns) == 5
    assert len(children) == 1
    training.refresh_from_db()
    assert training.status == "running"
    # Responses are there a moment before their run has ended.
    live = TrainingRun.objects.filter(queue="live")
    wait_until(lambda: {run.status for run in live.all()} == {"succeeded"}, what="the end of the live runs")


@pytest.mark.long
@pytest.mark.both_databases
def test_whose_process_is_killed_come_from_the_next_one_and_those_cancelled_are_said_to_have_failed(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion, chat_of_labeler: dict[str, object]
) -> None:
    LoopSettings.objects.filter(project=cast.project).update(sampling=SLOW)
    worker = celery_worker_process("default", "live")

    request = turns.ask(**chat_of_labeler, after=0).request
    assert request is not None
    run = TrainingRun.objects.filter(queue="live").latest("pk")
    wait_until(lambda: is_generating(run), seconds=60, what="the model to respond")
    killed = live_process(worker)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: is_generating(run) and run.attempt == 2, seconds=60, what="the second attempt")
    assert live_process(worker) != killed
    runs.request_cancel(run=run, by=cast.manager)
    wait_until(lambda: ResponseRequest.objects.get(pk=request.pk).state == "failed", what="the chat to be told")
    run.refresh_from_db()
    assert (run.status, run.error) == ("cancelled", "")
    LoopSettings.objects.filter(project=cast.project).update(sampling={**SAMPLING, "temperature": 2.0})
    turns.ask(**chat_of_labeler, after=0)
    wait_until(lambda: candidates(chat_of_labeler), seconds=60, what="responses after all")


def test_go_on_elsewhere_when_their_worker_is_told_to_stop(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion, chat_of_labeler: dict[str, object]
) -> None:
    LoopSettings.objects.filter(project=cast.project).update(sampling=SLOW)
    worker = celery_worker_process("live")
    turns.ask(**chat_of_labeler, after=0)
    run = TrainingRun.objects.get(queue="live")
    wait_until(lambda: is_generating(run), seconds=60, what="the model to respond")
    process = live_process(worker)
    end(worker)
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("queued", 0)
    assert not is_alive(process)
    celery_worker_process("default", "live")
    wait_until(lambda: candidates(chat_of_labeler), seconds=60, what="responses from another worker")


@pytest.mark.both_databases
def test_how_far_they_are_is_said(
    cast: Cast, chat_of_labeler: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf.runs.queues.workers.listening", lambda: {"default", "live"})
    (before,) = sampling.fulfil([other_chats_request(cast).pk])
    request = turns.ask(**chat_of_labeler, after=0).request
    (run,) = TrainingRun.objects.filter(queue="live").exclude(pk=before.pk)

    def said() -> live_responses.ResponseStatus:
        assert request is not None
        request.refresh_from_db()
        return live_responses.response_status(cast.project, request)

    assert said().message == "1 other chat is ahead of yours."
    assert (said().waited_seconds, said().usual_seconds) == (0, None)
    lease = runs.claim(run_id=before.pk, worker="w")
    assert lease is not None
    TrainingRun.objects.filter(pk=before.pk).update(created_at=timezone.now() - timedelta(seconds=7))
    runs.succeed(lease, result={}, register=lambda: None)
    assert (said().message, said().usual_seconds) == ("Starting the model.", 7)
    lease = runs.claim(run_id=run.pk, worker="w")
    assert lease is not None
    assert said().message == "Starting the model."
    runs.renew(lease, activity=live.LOADING)
    assert said().message == "Loading the model. The next turns are faster."
    runs.renew(lease, activity=live.GENERATING, progress=2 / 3)
    assert (said().message, said().progress) == ("Generating: 2 of 3 responses are ready.", 2 / 3)
    runs.fail(lease, StoredMessage("out_of_memory"))
    sampling.fail_requests(TrainingRun.objects.get(pk=run.pk))
    assert "try again" in said().message


def candidates(chat_of_labeler: dict[str, object]) -> list[Response]:
    return turns.Chat.of(Assignment.objects.get(pk=chat_of_labeler["assignment_id"])).candidates


def other_chats_request(cast: Cast) -> ResponseRequest:
    return ResponseRequest.objects.create(
        project=cast.project, prompt=make_prompt(cast.project, "Another chat."), responses_wanted=2, purpose="chat"
    )


def is_generating(run: TrainingRun) -> bool:
    run.refresh_from_db()
    assert not run.ended, run.error
    return run.activity == live.GENERATING


def live_process(worker: subprocess.Popen[bytes]) -> int:
    """The child that holds the model: `models_core live`, below a worker. An earlier test's may still be ending."""
    below = descendants(worker.pid)
    # A process that it forked bears its name until it starts something else: the one above them all is meant.
    found = [process for process in below if b"\0models_core\0live\0" in command_line(process)]
    forked = {below_it for process in found for below_it in descendants(process)}
    (process,) = set(found) - forked
    return process


def command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
