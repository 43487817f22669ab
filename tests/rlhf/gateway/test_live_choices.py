"""Requests that the live worker answers: what it may be asked, how its text comes, and who waits for it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotate.models import GatewayCompletion, GatewaySettings, Response
from rlhf import tasks
from rlhf.gateway import live_choices, stop_sequences
from rlhf.models import GatewayReply, TrainingRun
from rlhf.runs import runs
from rlhf.runs.queues import workers
from tests.factories.cast import Cast
from tests.rlhf.gateway.conftest import Program, chunks, said, text_of
from tests.rlhf.gateway.test_kept_conversations import assistant, user


@pytest.fixture
def program(cast: Cast) -> Program:
    GatewaySettings.objects.create(project=cast.project, enabled=True, stores=True)
    return Program(cast)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is there, which does nothing by itself."""
    monkeypatch.setattr(workers, "listening", lambda: {"default", "live"})
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": None)


@pytest.fixture
def worker(listening: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the live worker does with the next requests, a step at each look of the web process: texts, then choices; or
    the failure of the run."""
    steps: list[Any] = []

    def look(self: Any, seconds: float, **values: Any) -> bool:
        run = GatewayReply.objects.get().run
        step = steps.pop(0)
        if isinstance(step, str):
            live_choices.keep_text(run, step)
            return False
        lease = runs.claim(run_id=run.pk, worker="w")
        assert lease is not None
        if isinstance(step, Exception):
            runs.fail(lease, step.args[0])
        else:
            row = {"responses": step, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
            runs.succeed(lease, result=live_choices.store(run, lease, row), register=lambda: None)
        return False

    monkeypatch.setattr("rlhf.gateway.client_connection.ClientConnection.wait", look)
    return steps


def ended(*texts: str, reason: str = "stop") -> list[dict[str, str]]:
    return [{"text": text, "finish_reason": reason} for text in texts]


def test_a_reply_of_the_policy_in_use(cast: Cast, program: Program, worker: list[Any]) -> None:
    worker += ["In", ended("In water.", "Slowly.", reason="length")]
    reply = program.ask(
        [user("How?")],
        n=2,
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=7,
        seed=-1,
        store=True,
        presence_penalty=0,
    ).json()
    version = cast.project.model_versions.get()
    assert reply["model"] == version.author.name == "kindness/base-1"
    assert [(each["message"]["content"], each["finish_reason"]) for each in reply["choices"]] == [
        ("In water.", "length"),
        ("Slowly.", "length"),
    ]
    assert reply["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    run = TrainingRun.objects.get()
    assert run.config == {"seed": 2**63 - 1, "max_new_tokens": 7, "temperature": 0.5, "top_p": 0.9}
    assert (run.queue, run.options, run.created_by) == ("live", {"samples": 2, "gateway": True}, cast.researcher)
    assert {response.author for response in Response.objects.all()} == {version.author}
    assert GatewayCompletion.objects.get().model == "kindness/base-1"
    # What a program had asked is in no row of the worker's any more.
    assert not GatewayReply.objects.exists()


def test_the_text_comes_as_it_is_written(program: Program, worker: list[Any]) -> None:
    worker += ["In", "In wa", ended("In water.")]
    events = program.stream([user("How?")], stream_options={"include_usage": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(events) if chunk["choices"]]
    assert deltas == [{"role": "assistant", "content": "In"}, {"content": " wa"}, {"content": "ter."}, {}]
    assert chunks(events)[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks(events)[-1]["usage"]["total_tokens"] == 7
    worker += [ended("", "Two.")]
    events = program.stream([user("How?")], n=2)
    assert [text_of(events, number) for number in range(2)] == ["", "Two."]
    assert events[-1] == "data: [DONE]"


def test_a_text_ends_before_a_stop_sequence(cast: Cast, program: Program, worker: list[Any]) -> None:
    worker += [ended("In water.\n\nQ: Why?", "Slowly.", reason="length")]
    reply = program.ask([user("How?")], n=2, stop=["\n\nQ:", "?"], store=True).json()
    assert [(each["message"]["content"], each["finish_reason"]) for each in reply["choices"]] == [
        ("In water.", "stop"),
        ("Slowly.", "length"),
    ]
    assert set(Response.objects.values_list("text", flat=True)) == {"In water.", "Slowly."}
    # What may be the beginning of one waits until it is plain that it is none.
    worker += ["In", "In w#", "In w#a", "In w#a##", "In w#a##END", ended("In w#a##END of it")]
    events = program.stream([user("How?")], stop="##END")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(events) if chunk["choices"]]
    assert deltas == [{"role": "assistant", "content": "In"}, {"content": " w"}, {"content": "#a"}, {}]
    assert chunks(events)[-1]["choices"][0]["finish_reason"] == "stop"
    # A model that ends with the beginning of one has said it.
    worker += ["Yes#", ended("Yes#")]
    events = program.stream([user("How?")], stop="##END")
    assert text_of(events, 0) == "Yes#"


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("xabc", ("abc", "b"), "xa"), ("xabc", ("bc", "c"), "xa"), ("xaab", ("ab",), "xa"), ("x", ("y",), "x"),
        ("abab", ("b", "a"), ""), ("xab", ("abab", "bb"), "xab"),
    ],
)  # fmt: skip
def test_a_text_that_grows_ends_where_the_whole_one_does(text: str, stops: tuple[str, ...], kept: str) -> None:
    assert stop_sequences.cut(text, stops)[0] == kept
    sent = [stop_sequences.certain(text[:size], stops) for size in range(len(text) + 1)]
    assert all(kept.startswith(part) for part in sent)
    assert sent == sorted(sent, key=len)


@pytest.mark.parametrize(
    ("code", "values", "status", "sentence"),
    [
        ("process_message", {"message": "Prompt 1 has 900 tokens"}, 400, "Prompt 1 has 900 tokens"),
        ("internal_error", {"error": "KeyError: secret"}, 502, "The model could not respond."),
    ],
)
def test_a_run_that_fails(
    program: Program, worker: list[Any], code: str, values: dict[str, str], status: int, sentence: str
) -> None:
    from annotate.data.stored_messages import StoredMessage

    worker += [Exception(StoredMessage(code, values))]
    found, message = said(program.ask([user("How?")], stream=True))
    assert (found, sentence in message, "secret" in message) == (status, True, False)
    assert not GatewayReply.objects.exists()


@pytest.mark.usefixtures("listening")
def test_what_the_live_worker_cannot_do_is_refused_by_name(program: Program) -> None:
    for values, param in (
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stop": "x" * 201}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"x" * 200: 2}, "x" * 60),
        ({"max_tokens": 1_025}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"messages": [user("How?"), assistant("So.")]}, "messages"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0]"),
        ({"messages": [user("x" * 400_001)]}, "messages"),
    ):
        reply = program.ask(**{"messages": [user("How?")], **values})
        assert said(reply)[0] == 400, values
        assert reply.json()["error"]["param"] == param, values
    assert not TrainingRun.objects.exists()


def test_with_nobody_to_reply(program: Program) -> None:
    reply = program.ask()
    assert (said(reply)[0], reply.json()["error"]["code"]) == (503, "no_worker")
    assert "Retry-After" in reply


@pytest.mark.usefixtures("listening")
def test_labelers_chats_are_not_kept_waiting_by_many_requests(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_choices, "MOST_WAITING", 0)
    monkeypatch.setattr(live_choices, "LONGEST_SECONDS", 0.0)
    reply = program.ask()
    assert (said(reply)[0], reply.json()["error"]["code"]) == (503, "overloaded")
    assert not TrainingRun.objects.exists()


@pytest.mark.usefixtures("listening")
def test_what_nobody_waits_for_is_cancelled(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_choices, "LONGEST_SECONDS", 0.0)
    assert said(program.ask())[0] == 504
    run = TrainingRun.objects.get()
    assert run.status == "cancelled"
    assert live_choices.is_abandoned(run)
    # Of a web process that was killed, the scheduler does it.
    run = runs.enqueue(project=run.project, stage="sample", config={}, options={}, inputs={}, by=None, queue="live")
    reply = GatewayReply.objects.create(run=run, messages=[user("How?")])
    tasks.reap_runs()
    assert not live_choices.is_abandoned(run)
    GatewayReply.objects.filter(pk=reply.pk).update(seen_at=timezone.now() - timedelta(minutes=1))
    assert live_choices.is_abandoned(run)
    tasks.reap_runs()
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert not GatewayReply.objects.exists()
