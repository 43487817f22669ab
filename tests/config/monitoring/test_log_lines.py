"""Log lines: which request and run they belong to, as text and as JSON; and the id that an error page shows."""

import json
import logging
import re
import sys
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.test import Client, RequestFactory

from config import celery
from config.monitoring import log_lines
from config.security.password_hashing import HashingBusy
from config.web.edge import EdgeMiddleware
from config.web.log_filters import ExpectedErrorFilter
from rlhf import tasks
from tests.factories.cast import Cast


def record(message: str = "Something %s", *args: object, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("hone.test").makeRecord("hone.test", logging.INFO, "", 1, message, args, None, extra=extra)
    assert log_lines.ContextFilter().filter(made)
    return made


@pytest.fixture
def noted(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Records with the ids that the log's own handler would note on them."""
    caplog.handler.addFilter(log_lines.ContextFilter())
    return caplog


@pytest.fixture
def broken_page(cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("annotate.views.account.AccountForm", fail)
    client.raise_request_exception = False
    client.force_login(cast.labeler)
    return client


def test_the_error_page_shows_the_id_that_the_log_has(
    broken_page: Client, noted: pytest.LogCaptureFixture, settings: Any
) -> None:
    reply = broken_page.get("/account/")
    shown = re.search(r"<code>(\w{16})</code>", reply.content.decode())
    assert reply.status_code == 500
    assert shown is not None
    assert reply["X-Request-ID"] == shown[1]
    errors = [one for one in noted.records if one.exc_info]
    assert [one.request_id for one in errors] == [shown[1]]  # type: ignore[attr-defined]
    access = [one for one in noted.records if one.name == "hone.access"]
    assert [one.request_id for one in access] == [shown[1]]  # type: ignore[attr-defined]
    assert log_lines.request_id.get() == ""
    assert broken_page.get("/account/")["X-Request-ID"] != shown[1]


def test_a_refusal_is_one_line_without_a_trace(cast: Cast, client: Client, noted: pytest.LogCaptureFixture) -> None:
    noted.handler.addFilter(ExpectedErrorFilter())
    client.force_login(cast.labeler)
    path = f"/accounts/2fa/reset/{cast.manager.pk}/"
    assert client.post(path).status_code == 403
    (line,) = [one.getMessage() for one in noted.records if one.name == "django.request"]
    reason = "Two-step sign-in is reset by an administrator of this site."
    assert line == f"Forbidden (Permission denied): {path} ({reason})"
    assert not [one for one in noted.records if one.exc_info]


def test_one_sign_in_too_many_at_once_is_a_warning(
    client: Client, noted: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def busy(*_: object) -> str:
        raise HashingBusy

    noted.handler.addFilter(ExpectedErrorFilter())
    client.raise_request_exception = False
    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", busy)
    assert client.post("/accounts/login/", {"login": "somebody", "password": "wrong"}).status_code == 503
    (line,) = [one for one in noted.records if one.name == "django.request"]
    assert (line.levelname, line.getMessage()) == (
        "WARNING",
        "Service Unavailable: /accounts/login/ (HashingBusy)",
    )


@pytest.mark.parametrize(
    ("proxies", "given", "kept"),
    [
        (1, "3f2a-99.b_c1", True),
        (0, "3f2a-99.b_c1", False),
        (1, "short", False),
        (1, "x" * 65, False),
        (1, "12345678\nERROR forged", False),
        (1, "<script>alert(1)</script>", False),
        (1, "", False),
    ],
)
def test_only_a_proxy_of_ours_names_a_request(db: None, settings: Any, proxies: int, given: str, kept: bool) -> None:
    from django.http import HttpResponse

    settings.HONE_PROXIES = proxies
    request = RequestFactory().get("/", HTTP_X_REQUEST_ID=given)
    name = EdgeMiddleware(lambda request: HttpResponse("ok"))(request)["X-Request-ID"]
    assert (name == given) is kept
    assert re.fullmatch(r"[0-9a-f]{16}" if not kept else re.escape(given), name)


def test_a_line_of_text_ends_with_the_ids() -> None:
    formatter = log_lines.LineFormatter("{levelname} {name}: {message}", style="{")
    assert formatter.format(record("Plain %d", 1)) == "INFO hone.test: Plain 1"
    token = log_lines.request_id.set("abcdef0123456789")
    try:
        assert formatter.format(record()) == "INFO hone.test: Something %s [request abcdef0123456789]"
    finally:
        log_lines.request_id.reset(token)


def test_a_line_of_json_is_one_object() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made = record("Ünë %s", "b", fields={"view": "annotate:home", "status": 200, "milliseconds": 7})
        made.exc_info = sys.exc_info()
    line = log_lines.JSONFormatter().format(made)
    entry = json.loads(line)
    assert "\n" not in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry.pop("time"))
    assert entry.pop("error").endswith("ValueError: two\nlines")
    assert entry == {
        "level": "INFO", "logger": "hone.test", "message": "Ünë b", "view": "annotate:home", "status": 200,
        "milliseconds": 7,
    }  # fmt: skip


def test_a_run_is_named_while_its_job_runs() -> None:
    task = tasks.execute_run
    celery.signals.task_prerun.send(task, task_id="1", task=task, args=[17], kwargs={})
    try:
        assert json.loads(log_lines.JSONFormatter().format(record()))["run"] == "17"
    finally:
        celery.signals.task_postrun.send(task, task_id="1", task=task, args=[17], kwargs={}, retval=None, state="")
    assert "run" not in json.loads(log_lines.JSONFormatter().format(record()))
    other = tasks.build_snapshot
    celery.signals.task_prerun.send(other, task_id="2", task=other, args=[3], kwargs={})
    assert log_lines.run_id.get() == ""
