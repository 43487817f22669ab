"""Texts that no page can carry, on their way into messages, pages and refusals."""

import pytest
from django.contrib import messages
from django.contrib.messages.storage import default_storage
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.shortcuts import render
from django.test import Client, RequestFactory

from annotate.data import text
from annotate.rendering.page_templates import LONGEST_MESSAGE
from tests.factories.cast import Cast


def request_with_session(path: str = "/") -> HttpRequest:
    request = RequestFactory().get(path)
    request.session = SessionStore()
    request._messages = default_storage(request)  # type: ignore[attr-defined]
    return request


@pytest.mark.django_db
def test_a_message_with_half_a_surrogate_pair_is_shown_and_gone(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    request = request_with_session()
    request.session = client.session
    request._messages = default_storage(request)  # type: ignore[attr-defined]
    for written in ("Not kept: x\ud800\0y.", "long " * 2_000):
        messages.warning(request, written)
    request._messages.update(None)  # type: ignore[attr-defined]
    request.session.save()
    page = client.get("/p/kindness/prompts/")
    assert page.status_code == 200
    assert "Not kept: x\ufffd\ufffdy." in page.content.decode()
    assert page.content.decode().count("long ") == LONGEST_MESSAGE // 5 - 1
    assert "Not kept" not in client.get("/p/kindness/prompts/").content.decode()


@pytest.mark.django_db
def test_a_page_with_half_a_surrogate_pair_is_a_page() -> None:
    page = render(request_with_session(), "403.html", {"exception": "key \udcff"})
    assert "key \ufffd" in page.content.decode()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("    def f():\r\n        pass\r\n", "    def f():\n        pass\n"),
        ("\n\u3000段落 ", "\n\u3000段落 "),
        ("e\u0301\r\n\u2028x", "e\u0301\n\u2028x"),
        (" \r\n\t", ""),
    ],
)
def test_what_is_written_is_kept_space_by_space(written: str, kept: str) -> None:
    assert text.as_written(written) == kept
