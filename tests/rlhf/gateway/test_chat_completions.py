"""Chat completions passed on to an upstream: as OpenAI has them, with honest errors, for those who may."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import GatewayCompletion, GatewaySettings, Membership, Project, Prompt
from annotate.people import api_tokens
from config.security import request_limits
from config.security.rate_limits import Limit
from rlhf.gateway import concurrency
from rlhf.gateway import upstream as upstream_module
from rlhf.gateway.chat_requests import MOST_CHOICES
from tests.factories.cast import Cast
from tests.harness.openai_server import KEY, OpenAIServer, breaks_off, drops, refuses, says_nothing
from tests.rlhf.gateway.conftest import HELLO, Program, chunks, leave, said, text_of


def test_the_models_of_the_project(program: Program) -> None:
    listed = program.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [(model["id"], model["object"], model["owned_by"]) for model in listed["data"]] == [
        ("policy", "model", "hone"),
        ("other", "model", "hone"),
    ]
    assert program.get("/v1/models/other").json() == listed["data"][1]
    assert said(program.get("/v1/models/none")) == (
        404,
        "There is no model “none” here. This project’s gateway has: policy, other.",
    )


def test_a_reply_in_one_piece(program: Program, upstream: OpenAIServer) -> None:
    reply = program.ask(n=2, temperature=0.5, user="ann", metadata={"a": "b"}, safety_identifier="x", stop=None)
    found = reply.json()
    assert reply.status_code == 200
    assert reply["Cache-Control"] == "no-store"
    assert found.pop("id").startswith("chatcmpl-")
    assert abs(found.pop("created") - timezone.now().timestamp()) < 3600
    assert found == {
        "object": "chat.completion",
        "model": "policy",
        "choices": [
            {
                "index": number,
                "message": {"role": "assistant", "content": f"You said: Hello there ({number})"},
                "finish_reason": "stop",
            }
            for number in range(2)
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    # What is the gateway's own stays here.
    assert upstream.bodies == [{"model": "served", "messages": HELLO, "n": 2, "temperature": 0.5}]
    assert upstream.keys == [f"Bearer {KEY}"]
    assert program.ask(model="other").json()["model"] == "other"
    assert upstream.bodies[1]["model"] == "other-served"
    assert not Prompt.objects.exists()
    assert concurrency.in_progress() == 0


def test_a_stream(program: Program, upstream: OpenAIServer) -> None:
    events = program.stream(n=2)
    assert events[-1] == "data: [DONE]"
    found = chunks(events)
    assert {(chunk["object"], chunk["model"]) for chunk in found} == {("chat.completion.chunk", "policy")}
    assert len({chunk["id"] for chunk in found}) == 1
    assert [text_of(events, number) for number in range(2)] == [f"You said: Hello there ({n})" for n in range(2)]
    assert not any("usage" in chunk for chunk in found)
    assert concurrency.in_progress() == 0
    with_usage = chunks(program.stream(stream_options={"include_usage": True}))
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert upstream.bodies[-1]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("scene", "status", "code", "message"),
    [
        (drops, 502, "upstream_broken", "broke off"),
        (refuses(500, b"secret stack trace"), 502, "upstream_broken", "broke off"),
        (refuses(200, b"not JSON"), 502, "upstream_broken", "broke off"),
        (refuses(200, {"choices": [1]}), 502, "upstream_broken", "broke off"),
        (refuses(200, b'{"a":' * 100_000), 502, "upstream_broken", "broke off"),
        (refuses(401), 502, "upstream_key", "refuses Hone’s key"),
        (refuses(429, {}, Retry_After="7"), 429, "upstream_busy", "busy"),
        (refuses(503), 503, "upstream_busy", "busy"),
        (refuses(302, {}, Location="http://127.0.0.1:1/"), 502, "upstream_broken", "broke off"),
        (
            refuses(422, {"error": {"message": "n is too large", "param": "n"}}),
            400,
            "upstream_refused",
            "n is too large",
        ),
        (refuses(400, b"no JSON"), 400, "upstream_refused", "refuses the request"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_fails_before_the_first_word(
    program: Program, upstream: OpenAIServer, scene: Any, status: int, code: str, message: str, stream: bool
) -> None:
    upstream.scene = scene
    reply = program.ask(stream=stream)
    found, sentence = said(reply)
    assert found == status
    assert reply.json()["error"]["code"] == code
    assert message in sentence
    assert "secret" not in sentence
    assert ("Retry-After" in reply) == (status in (429, 503) or code == "upstream_broken")
    assert concurrency.in_progress() == 0


def test_an_upstream_that_breaks_off_is_said_in_the_stream(program: Program, upstream: OpenAIServer) -> None:
    upstream.scene = breaks_off
    events = program.stream(store=True)
    assert text_of(events) == "You"
    assert chunks(events)[-1]["error"]["code"] == "upstream_broken"
    assert "data: [DONE]" not in events
    # The user's prompt is kept, and no half response.
    assert GatewayCompletion.objects.get().responses == [None]
    assert concurrency.in_progress() == 0


def test_an_upstream_that_is_silent_or_not_there(
    program: Program, upstream: OpenAIServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "SILENT_SECONDS", 0.2)
    upstream.scene = says_nothing
    assert said(program.ask()) == (504, "The model’s server does not reply in time.")
    assert upstream.left.wait(60)
    settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
    assert said(program.ask()) == (502, "The model’s server can’t be reached.")
    settings.HONE_AI_ENDPOINTS = {}
    status, sentence = said(program.ask())
    assert (status, "no server named local" in sentence) == (503, True)


ODD_BODIES = [
    ([], None, "JSON object"),
    ({}, "model", "“model” is missing"),
    ({"model": 3}, "model", "must be a text"),
    ({"model": "policy"}, "messages", "must be a list"),
    ({"model": "policy", "messages": []}, "messages", "1 to 1000"),
    ({"model": "policy", "messages": ["hi"]}, "messages[0].role", "with a role"),
    ({"model": "policy", "messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "with a role"),
    ({"model": "policy", "messages": [{"role": [], "content": "x"}]}, "messages[0].role", "with a role"),
    ({"model": "policy", "messages": [{"role": "user", "content": 7}]}, "messages[0].content", "content of message 0"),
    ({"n": 0}, "n", "from 1 to 8"),
    ({"n": MOST_CHOICES + 1}, "n", "from 1 to 8"),
    ({"n": True}, "n", "whole number"),
    ({"stream": "yes"}, "stream", "true or false"),
    ({"stream_options": {}}, "stream_options", "only for"),
    ({"stream": True, "stream_options": []}, "stream_options", "an object"),
    ({"store": 1}, "store", "true or false"),
    ({"user": ["x"]}, "user", "must be a text"),
    ({"user": "x" * 501}, "user", "must be a text"),
    ({"metadata": {"a": 1}}, "metadata", "up to 16 texts"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "up to 16 texts"),
    ({"metadata": {"a": "x" * 513}}, "metadata", "up to 16 texts"),
    ({"metadata": {"a" * 65: "x"}}, "metadata", "up to 16 texts"),
    ({"metadata": []}, "metadata", "up to 16 texts"),
]


def test_odd_bodies_are_refused_by_name(program: Program, upstream: OpenAIServer) -> None:
    for values, param, sentence in ODD_BODIES:
        body = values if not values or "model" in values else {"model": "policy", "messages": HELLO, **values}
        reply = program.send("/v1/chat/completions", body)
        status, found = said(reply)
        assert status == 400, (values, reply.content)
        assert reply.json()["error"]["param"] == param, values
        assert sentence in found, values
    for raw, sentence in (
        (b"{", "isn’t JSON"),
        (b"\xff\xfe", "isn’t JSON"),
        (b'{"model": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "a key twice"),
        (b'{"model": "\\ud800"}', "surrogate"),
        (b'{"model": "\\u0000"}', "NUL"),
        (b"[" * 100_000, "too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "isn’t JSON"),
    ):
        reply = program.post("/v1/chat/completions", data=raw, content_type="application/json")
        status, found = said(reply)
        assert (status, sentence in found) == (400, True), (raw[:40], found)
    assert said(program.post("/v1/chat/completions", data="{}", content_type="text/plain"))[0] == 415
    assert upstream.bodies == []


def test_addresses_and_methods(program: Program, client: Client) -> None:
    reply = program.get("/v1/chat/completions")
    assert (said(reply)[0], reply["Allow"]) == (405, "POST")
    assert said(program.post("/v1/models"))[0] == 405
    assert said(program.get("/v1/nothing"))[0] == 404
    assert said(client.get("/v1/"))[0] == 404
    assert said(program.get("/v1/models", headers={"host": "evil.example"}))[0] == 400
    too_long = client.post("/v1/chat/completions", data="x" * 70_000, content_type="application/json")
    assert said(too_long)[0] == 413


class TestWhoMay:
    def test_tokens(self, cast: Cast, program: Program, client: Client) -> None:
        for headers in ({}, {"authorization": "Bearer hone_" + "x" * 43}, {"authorization": "Basic x"}):
            reply = client.get("/v1/models", headers=headers)
            assert said(reply)[0] == 401
            assert reply.json()["error"]["code"] == "invalid_api_key"
            assert reply["WWW-Authenticate"] == "Bearer"
        assert said(Program(cast, "train").get("/v1/models")) == (403, "This token doesn’t have the scope “gateway”.")
        only_asks = Program(cast, "gateway")
        assert only_asks.ask().status_code == 200
        assert said(only_asks.ask(store=True)) == (403, "This token doesn’t have the scope “gateway_store”.")
        assert said(only_asks.send("/v1/feedback", {}))[0] == 403
        api_tokens.revoke(token=program.token, by=cast.researcher)
        assert said(program.get("/v1/models"))[0] == 401

    def test_a_cookie_means_nothing(self, cast: Cast, gateway: GatewaySettings, client: Client) -> None:
        client.force_login(cast.manager)
        assert said(client.get("/v1/models"))[0] == 401

    def test_a_token_of_the_gateway_names_its_project_and_stays_there(self, cast: Cast, program: Program) -> None:
        with pytest.raises(Exception, match="Choose the project"):
            api_tokens.make(user=cast.researcher, name="x", scopes=["gateway"], days=7)
        Membership.objects.create(user=cast.researcher, project=cast.other_project, role="researcher")
        there = Program(cast, "gateway", "see_data")
        assert there.get("/api/v1/projects/kindness/prompts").status_code == 200
        assert there.get("/api/v1/projects/elsewhere/prompts").status_code == 404
        assert [project["slug"] for project in there.get("/api/v1/projects").json()["items"]] == ["kindness"]

    def test_who_lost_their_role_lost_the_gateway(self, cast: Cast, program: Program) -> None:
        Membership.objects.filter(user=cast.researcher).update(role="labeler")
        assert said(program.ask())[0] == 403

    def test_a_gateway_that_is_closed(self, cast: Cast, program: Program, gateway: GatewaySettings) -> None:
        Project.objects.filter(pk=cast.project.pk).update(archived_at=timezone.now())
        assert said(program.ask())[0] == 403
        Project.objects.filter(pk=cast.project.pk).update(archived_at=None)
        GatewaySettings.objects.update(enabled=False)
        status, sentence = said(program.ask())
        assert (status, "is closed" in sentence) == (403, True)


def test_the_metrics_count_what_happens(program: Program, upstream: OpenAIServer, client: Client) -> None:
    def counts() -> list[float]:
        page = client.get("/metrics").content.decode()
        names = (
            "hone_gateway_requests_total",
            "hone_gateway_failures_total",
            "hone_gateway_kept_total",
            "hone_gateway_feedback_total",
        )
        return [float(line.split()[1]) for name in names for line in page.splitlines() if line.startswith(f"{name} ")]

    before = counts()
    key = program.ask(store=True).json()["id"]
    program.send("/v1/feedback", {"id": key, "rating": "up"})
    upstream.scene = breaks_off
    program.stream()
    upstream.scene = drops
    program.ask()
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [3, 2, 1, 1]


class TestFloods:
    def test_no_more_at_once_than_there_are_places(
        self, cast: Cast, program: Program, upstream: OpenAIServer, settings: Any
    ) -> None:
        settings.HONE_GATEWAY_REQUESTS = 4
        upstream.gate.clear()
        open_streams = [program.ask(stream=True) for _ in range(2)]
        reply = program.ask()
        assert (said(reply)[0], reply["Retry-After"]) == (429, "2")
        assert "2 requests of this token" in said(reply)[1]
        # Others have the other half, and none beyond it.
        others = [Program(cast) for _ in range(3)]
        open_streams += [other.ask(stream=True) for other in others[:2]]
        reply = others[2].ask()
        assert (said(reply)[0], reply.json()["error"]["code"]) == (503, "overloaded")
        # A client that leaves before it has read anything gives its place back.
        leave(open_streams.pop(0))
        upstream.gate.set()
        assert program.ask().status_code == 200
        for stream in open_streams:
            assert b"".join(stream.streaming_content).endswith(b"data: [DONE]\n\n")
        assert concurrency.in_progress() == 0

    def test_no_more_in_a_while_than_one_person_may(
        self, cast: Cast, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(request_limits, "API_REQUESTS", Limit(burst=2, interval=60))
        assert [program.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
        reply = program.get("/v1/models")
        assert said(reply)[0] == 429
        assert 1 <= int(reply["Retry-After"]) <= 60
        # The API has a count of its own.
        assert program.get("/api/v1/me").status_code == 200
