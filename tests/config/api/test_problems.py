"""Every error of the API is a problem (RFC 9457), whatever part of the site refused the request."""

import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from config.security import request_limits
from config.security.rate_limits import Limit
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import Cast, cast
from tests.harness.api_client import ROOT, ApiClient

__all__ = ["cast", "db", "module_rows"]

IMPORTS = f"{ROOT}/projects/kindness/imports"
NEXT = f"{ROOT}/projects/kindness/work/next"


@pytest.fixture
def client(cast: Cast) -> ApiClient:
    return ApiClient(cast.manager, raise_request_exception=False)


def is_problem(reply: Any, status: int) -> str:
    """Its sentence."""
    said = reply.json()
    assert reply["Content-Type"] == "application/problem+json", reply.content
    assert (reply.status_code, said["status"], said["type"]) == (status, status, "about:blank")
    assert said["title"]
    detail: str = said["detail"]
    assert detail
    return detail


def test_addresses_and_methods(client: ApiClient, cast: Cast) -> None:
    is_problem(client.get("/api/v1/nothing"), 404)
    is_problem(client.get("/api/v2/"), 404)
    assert "no such project" in is_problem(client.get("/api/v1/projects/elsewhere"), 404)
    reply = client.delete(NEXT)
    is_problem(reply, 405)
    assert reply["Allow"] == "POST"
    with override_settings(DEBUG=True):
        is_problem(client.get("/api/v1/nothing"), 404)
    is_problem(client.get("/api/v1/me", headers={"host": "evil.example"}), 400)
    is_problem(Client().post(NEXT), 401)
    assert "scope “write”" in is_problem(ApiClient(cast.labeler, "label").post(NEXT), 403)
    assert "scope “label”" in is_problem(ApiClient(cast.labeler, "write").post(NEXT), 403)
    assert "don't label" in is_problem(ApiClient(cast.researcher).post(NEXT), 403)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "form"),
        (b"{", "Expecting"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"rows": [{"a": NaN}]}', "NaN"),
        (b'{"rows": [], "rows": []}', "twice"),
        (b'{"rows": [{"a": "\\ud800"}]}', "surrogate"),
        (b'{"rows": [{"a": "\\u0000"}]}', "NUL"),
        (b"[" * 100_000, "nested"),
        (b'{"rows": [{"a": ' + b"9" * 5_000 + b"}]}", "digits"),
    ],
)
def test_unreadable_bodies(client: ApiClient, body: bytes, reason: str) -> None:
    reply = client.post(IMPORTS, body, content_type="application/json")
    assert reason in is_problem(reply, 422 if reason == "form" else 400)


def test_bodies_of_another_kind_or_form(client: ApiClient) -> None:
    is_problem(client.post(IMPORTS, "rows=1", content_type="application/x-www-form-urlencoded"), 415)
    is_problem(client.post(IMPORTS, {"rows": "1"}), 415)
    reply = client.post(IMPORTS, {"rows": [], "other": 1}, content_type="application/json")
    is_problem(reply, 422)
    assert {each["field"] for each in reply.json()["errors"]} == {"body.data.rows", "body.data.other"}


def test_sizes_and_lengths(client: ApiClient) -> None:
    is_problem(client.post(IMPORTS, b" " * (8 * 2**20 + 1), content_type="application/json"), 413)
    is_problem(Client().post(IMPORTS, b" " * (64 * 2**10 + 1), content_type="application/json"), 413)
    is_problem(client.generic("POST", IMPORTS, b"", HTTP_TRANSFER_ENCODING="chunked"), 411)


def test_too_many_requests(client: ApiClient, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "API_REQUESTS", Limit(burst=2, interval=60))
    assert [client.get("/api/v1/me").status_code for _ in range(2)] == [200, 200]
    reply = client.get("/api/v1/me")
    is_problem(reply, 429)
    assert 0 < int(reply["Retry-After"]) <= 60
    assert ApiClient(cast.labeler).get("/api/v1/me").status_code == 200, "others have their own"


def test_failures_of_ours(client: ApiClient) -> None:
    with mock.patch("annotate.people.permissions.capabilities", side_effect=RuntimeError("secret words")):
        assert "secret" not in is_problem(client.get("/api/v1/projects/kindness"), 500)
        with override_settings(DEBUG=True):
            assert "secret" not in is_problem(client.get("/api/v1/projects/kindness"), 500)
    with mock.patch("annotate.people.permissions.capabilities", side_effect=OperationalError("gone")):
        reply = client.get("/api/v1/projects/kindness")
    is_problem(reply, 503)
    assert reply["Retry-After"] == "5"


def test_a_sentence_is_in_the_persons_language(client: ApiClient, cast: Cast) -> None:
    cast.manager.language = "zh-hans"
    cast.manager.save()
    assert "没有" in is_problem(client.get("/api/v1/projects/elsewhere"), 404)


def test_a_browsers_cookies_mean_nothing(cast: Cast) -> None:
    browser = Client()
    browser.force_login(cast.manager)
    is_problem(browser.get("/api/v1/projects"), 401)
    page = browser.get("/api/v1/docs")
    assert page.status_code == 200
    assert b"/api/v1/projects/{slug}/imports" in page.content
    assert b'<script src="http' not in page.content
    assert Client().get("/api/v1/docs").status_code == 302
    document = Client().get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"


def test_a_web_process_that_no_program_asks_has_no_ninja() -> None:
    code = (
        "import sys, config.wsgi\n"
        "from django.test import Client\n"
        "from django.urls import reverse\n"
        "reverse('annotate:home'), reverse('rlhf:workers')\n"
        "assert Client().get('/p/x/', headers={'host': '127.0.0.1'}).status_code == 302\n"
        "print('ninja' in sys.modules)\n"
        "Client().get('/api/v1/openapi.json', headers={'host': '127.0.0.1'})\n"
        "print('ninja' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
