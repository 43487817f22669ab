"""Streamed replies of a served model: events of every shape, and every way in which a server fails meanwhile."""

import json
import threading

import pytest

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.generation import served_stream
from models_core.generation.served_stream import StreamFault, StreamingServer
from tests.harness.ports import free_port
from tests.models_core import recipe_runs
from tests.models_core.generation.test_served_model import KEY, fake

__all__ = ["fake"]  # a fixture

VARIABLE = "STREAM_KEY"


def chunk(text=None, reason=None):
    delta = {} if text is None else {"content": text}
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': reason}]})}\n\n"


def events(*parts, status=200, kind="text/event-stream; charset=utf-8", after=None):
    """A scene: the parts are sent one by one, then `after` is called, and the connection ends."""

    def play(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(part if isinstance(part, bytes) else part.encode())
            handler.wfile.flush()
        if after is not None:
            after(handler)
        handler.close_connection = True

    return play


def forever(part):
    """Sends it until the client hangs up."""

    def play(handler):
        while True:
            handler.wfile.write(part)

    return play


def silent(handler):
    handler.rfile.read(1)  # until the client hangs up


def ask(address, *, key_variable="", **values):
    settings = parse(SampleConfig, {"server_timeout": 60, "server_logprobs": False, "max_new_tokens": 9, **values})
    parts = []
    server = StreamingServer(address, settings=settings, stop=StopSignal(), key_variable=key_variable)
    name, response = server.reply(tuple(recipe_runs.chat("How?")), parts.append)
    return name, response, parts


def fault(address, **values):
    with pytest.raises(StreamFault) as caught:
        ask(address, **values)
    return caught.value.code, caught.value.values


def test_the_text_is_given_as_it_grows_with_settings_and_key(fake, monkeypatch):
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    fake.scenes = [events(chunk("Boil"), chunk(" it."), chunk(reason="stop"), "data: [DONE]\n\n")]
    name, response, parts = ask(fake.address, key_variable=VARIABLE, temperature=0.5)
    assert (name, response.text, response.finish_reason) == ("the-model", "Boil it.", "stop")
    assert parts == ["Boil", "Boil it."]
    (body,) = fake.bodies
    assert {key: body[key] for key in ("model", "stream", "max_tokens", "temperature")} == {
        "model": "the-model",
        "stream": True,
        "max_tokens": 9,
        "temperature": 0.5,
    }
    assert body["messages"] == recipe_runs.chat("How?")
    assert "logprobs" not in body
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("parts", "text", "reason"),
    [
        # Comments, other fields, CRLF, a role alone, a last event that counts tokens, and no end mark at all.
        (
            (": here\r\n\r\nevent: x\r\n", chunk("é"), 'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n',
             chunk("!", "length"), 'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\n'),
            "é!", "length",
        ),
        # A character, and a surrogate pair, cut in two; a reason that we have no word for.
        (
            (chunk("é").encode("utf-8")[:30], chunk("é").encode("utf-8")[30:],
             'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
             'data: {"choices": [{"delta": {"content": "\\ude00"}, "finish_reason": "tool_calls"}]}\n\n',
             "data: [DONE]"),
            "é😀", "unknown",
        ),
        # Nothing said.
        ((chunk(reason="stop"),), "", "stop"),
    ],
    ids=["events", "halves", "empty"],
)  # fmt: skip
def test_events_of_every_shape(fake, parts, text, reason):
    fake.scenes = [events(*parts)]
    name, response, parts = ask(fake.address, served_model="mine")
    assert (name, response.text, response.finish_reason) == ("mine", text, reason)
    assert all("\ud83d" not in each and "\ufffd" not in each for each in parts)


def test_a_server_that_does_not_stream_is_read_whole(fake):
    _, response, parts = ask(fake.address, served_model="mine")
    assert response.text.startswith("How?, answered with ")
    assert parts == []


REPORTED = {"error": {"message": f"too long\nfor {KEY}", "code": 400}}
WORDS = {"reason": "too long for (key)"}
MOVED = {"status": 302, "reason": "no reason given."}


@pytest.mark.parametrize(
    ("scene", "code", "values"),
    [
        ((401, {"error": {"message": f"bad key {KEY}"}}), "served_key_refused", {"status": 401}),
        ((429, {}, {"Retry_After": "9"}), "served_busy", {}),
        ((500, b"oh <b>no</b>"), "served_failed", {"status": 500, "reason": "oh <b>no</b>"}),
        ((404, REPORTED), "served_refused", {"status": 404, **WORDS}),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "served_refused", MOVED),
        ((400, b"[" * 60_000), "served_refused", {"status": 400, "reason": "[" * 300 + "…"}),
        ("drop", "served_cut", {}),
        ("torn", "served_cut", {}),
        (events(chunk("So f")), "served_cut", {}),
        (events(chunk("So f"), f"data: {json.dumps(REPORTED)}\n\n"), "served_reported", WORDS),
        (events("data: {oh\n\n"), "served_unreadable", {}),
        (events("data: [1]\n\n"), "served_unreadable", {}),
        (events('data: {"choices": [{"delta": {"content": 7}}]}\n\n'), "served_unreadable", {}),
        ((200, b"<html>"), "served_unreadable", {}),
        (events(after=forever(b"data: " + b"x" * 65_536)), "served_endless", {}),
        (events(after=forever(b": still here\n\n" * 4096)), "served_endless", {}),
        (events(after=forever(chunk("x" * 5_000).encode())), "served_endless", {}),
    ],
    ids=[
        *("401", "429", "500", "404", "302", "nested", "dropped", "torn", "cut", "reported", "invalid", "list"),
        *("number", "html", "endless-line", "endless-comments", "endless-text"),
    ],
)  # fmt: skip
def test_every_fault_has_its_code_and_is_asked_once(fake, monkeypatch, scene, code, values):
    monkeypatch.setenv(VARIABLE, KEY)
    fake.scenes = [scene]
    assert fault(fake.address, served_model="mine", key_variable=VARIABLE) == (code, values)
    assert len(fake.bodies) == 1


def test_time_is_bounded_as_a_whole_and_in_silence(fake, monkeypatch):
    drip = threading.Event()

    def headers_byte_by_byte(handler):
        handler.send_response(200)
        handler.flush_headers()
        while True:
            handler.wfile.write(b"x")
            drip.wait(0.02)

    for scene in (headers_byte_by_byte, events(chunk("So"), after=silent), silent):
        fake.scenes = [scene]
        assert fault(fake.address, served_model="mine", server_timeout=0.6) in (
            ("served_slow", {"seconds": 1}),
            ("served_silent", {"seconds": 1}),
        )
    monkeypatch.setattr(served_stream, "SILENCE_SECONDS", 0.3)
    fake.scenes = [events(chunk("So"), after=silent)]
    assert fault(fake.address, served_model="mine") == ("served_silent", {"seconds": 0})
    # A reply has to begin sooner than it has to end; comments of a proxy are no beginning.
    monkeypatch.setattr(served_stream, "FIRST_SECONDS", 0.3)
    for scene in (silent, headers_byte_by_byte, events(after=forever(b": still here\n\n"))):
        fake.scenes = [scene]
        assert fault(fake.address, served_model="mine") == ("served_unanswered", {"seconds": 0})


def test_a_reply_that_has_begun_may_take_longer(fake):
    settings = parse(SampleConfig, {"server_timeout": 60, "server_logprobs": False, "served_model": "mine"})
    server = StreamingServer(fake.address, settings=settings, stop=StopSignal(), key_variable="")
    fake.scenes = [events(chunk("So"), chunk(reason="stop"))]
    is_begun = []
    server.reply(tuple(recipe_runs.chat("How?")), lambda text: is_begun.append(server._first.finished.is_set()))
    assert is_begun == [True]


def test_whoever_leaves_hears_no_more(fake):
    settings = parse(SampleConfig, {"server_timeout": 60, "server_logprobs": False, "served_model": "mine"})
    server = StreamingServer(fake.address, settings=settings, stop=StopSignal(), key_variable="")
    fake.scenes = [events(chunk("So"), after=silent)]
    with pytest.raises(Stopped):
        server.reply(tuple(recipe_runs.chat("How?")), lambda text: server.leave())


def test_what_is_no_server_and_what_has_no_key(monkeypatch):
    assert fault(f"http://127.0.0.1:{free_port()}/v1") == ("served_unreachable", {"reason": "Connection refused"})
    monkeypatch.delenv(VARIABLE, raising=False)
    assert fault("http://127.0.0.1:9/v1", key_variable=VARIABLE) == ("served_without_key", {"variable": VARIABLE})
    with pytest.raises(BadInput, match="looks like http://host"):
        ask("http://user:word@127.0.0.1:9/v1")
