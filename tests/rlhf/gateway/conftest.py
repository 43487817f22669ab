"""A project whose gateway passes on to a small server, and a client of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client

from annotate.models import GatewaySettings
from annotate.people import api_tokens
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import Cast, cast
from tests.harness.openai_server import KEY, OpenAIServer, openai_server

__all__ = ["cast", "db", "module_rows"]

HELLO = [{"role": "user", "content": "Hello there"}]


class Program(Client):
    """A program with a token of the gateway."""

    def __init__(self, cast: Cast, *scopes: str) -> None:
        chosen = scopes or tuple(api_tokens.GATEWAY_SCOPES)
        self.token, self.secret = api_tokens.make(
            user=cast.researcher, name="app", scopes=chosen, days=7, project=cast.project
        )
        super().__init__(headers={"authorization": f"Bearer {self.secret}"}, raise_request_exception=False)

    def send(self, path: str, data: Any) -> Any:
        return self.post(path, data=data, content_type="application/json")

    def ask(self, messages: Any = HELLO, **values: Any) -> Any:
        return self.send("/v1/chat/completions", {"model": "policy", "messages": messages} | values)

    def stream(self, messages: Any = HELLO, **values: Any) -> list[str]:
        """The events of a stream, without the last one, that says that it is whole."""
        reply = self.ask(messages, stream=True, **values)
        assert (reply.status_code, reply["Content-Type"]) == (200, "text/event-stream"), reply.content
        events = b"".join(reply.streaming_content).decode().split("\n\n")
        assert events.pop() == ""
        return events


def chunks(events: list[str]) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]


def text_of(events: list[str], index: int = 0) -> str:
    choices = [choice for chunk in chunks(events) for choice in chunk.get("choices", []) if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def leave(reply: Any) -> None:
    """What the server does when the program hangs up; the connection of the test's transaction stays open."""
    request_finished.disconnect(close_old_connections)
    try:
        reply.close()
    finally:
        request_finished.connect(close_old_connections)


def said(reply: Any) -> tuple[int, str]:
    """(status, message) of an error, which is in OpenAI's shape."""
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert error["message"]
    return reply.status_code, error["message"]


@pytest.fixture
def upstream(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    with openai_server() as server:
        settings.HONE_AI_ENDPOINTS = {"local": (server.address, "UPSTREAM_KEY")}
        yield server


@pytest.fixture
def gateway(cast: Cast, upstream: OpenAIServer) -> GatewaySettings:
    return GatewaySettings.objects.create(
        project=cast.project,
        enabled=True,
        endpoint="local",
        served_model="served",
        routes={"other": {"endpoint": "local", "model": "other-served"}},
        stores=True,
    )


@pytest.fixture
def program(cast: Cast, gateway: GatewaySettings) -> Program:
    return Program(cast)
