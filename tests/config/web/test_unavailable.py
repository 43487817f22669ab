"""A database that doesn't respond: 503, when to come back, and nothing of what was entered is lost."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper
from django.test import Client

from tests.factories.cast import Cast, make_cast


@contextmanager
def no_database() -> Iterator[None]:
    def refuse(*args: object, **options: object) -> None:
        raise OperationalError("the connection was refused")

    with patch.object(CursorWrapper, "execute", refuse):
        yield


@pytest.fixture
def client(cast: Cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.manager)
    return client


def test_a_page_says_what_to_do(client: Client, cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    with no_database():
        reply = client.get(f"/p/{cast.project.slug}/")
    assert (reply.status_code, reply["Retry-After"]) == (503, "5")
    assert "Nothing is lost; try again in a few seconds." in reply.content.decode()
    assert '<form method="post" action="/p/' not in reply.content.decode()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors


def test_a_script_gets_the_sentence_alone(client: Client, cast: Cast) -> None:
    with no_database():
        reply = client.post(f"/p/{cast.project.slug}/work/preview", {"text": "a"}, HTTP_HX_REQUEST="true")
    assert (reply.status_code, reply["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert reply.content.decode().startswith("The database is not available at the moment, so nothing was saved.")


def test_a_form_can_be_sent_again_as_it_was(client: Client, cast: Cast) -> None:
    text = '\nFirst <line> & "quotes"\r\nsecond'
    with no_database():
        reply = client.post(f"/p/{cast.project.slug}/guidelines/?a=1&b=2", {"guidelines": text, "note": ["x", "y"]})
    page = reply.content.decode()
    assert reply.status_code == 503
    assert f'action="/p/{cast.project.slug}/guidelines/?a=1&amp;b=2"' in page
    assert (
        '<textarea name="guidelines" hidden>\n\nFirst &lt;line&gt; &amp; &quot;quotes&quot;\r\nsecond</textarea>'
        in page
    )
    assert page.count('<textarea name="note"') == 2
    assert "Send it again" in page


def test_a_password_is_never_repeated(client: Client) -> None:
    with no_database():
        reply = client.post("/accounts/login/", {"login": "ann", "password": "correct horse"})
    assert reply.status_code == 503
    assert "correct horse" not in reply.content.decode()
    assert "Go back: what you entered is still there." in reply.content.decode()


def test_another_error_is_still_one(client: Client, cast: Cast) -> None:
    with patch("annotate.views.overview.render", side_effect=KeyError("x")):
        assert client.get(f"/p/{cast.project.slug}/").status_code == 500


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the lock of one file is SQLite's")
def test_a_locked_database_is_said(transactional_db: None) -> None:
    cast = make_cast()
    client = Client(raise_request_exception=False)
    client.force_login(cast.manager)
    form = {"first_name": "Ann", "theme": cast.manager.theme, "sensitive_choice": cast.manager.sensitive_choice}
    connection.close()
    other = sqlite3.connect(connection.settings_dict["NAME"])
    try:
        other.execute("BEGIN IMMEDIATE")
        with patch.dict(connection.settings_dict["OPTIONS"], {"timeout": 0.1}):
            reply = client.post("/account/", form)
            assert (reply.status_code, reply["Retry-After"]) == (503, "5")
            assert '<textarea name="first_name" hidden>\nAnn</textarea>' in reply.content.decode()
    finally:
        other.rollback()
        other.close()
        connection.close()
    assert client.post("/account/", form).status_code == 302


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no server that could be restarted")
def test_a_server_that_was_restarted_is_said(transactional_db: None) -> None:
    cast = make_cast()
    client = Client(raise_request_exception=False)
    client.force_login(cast.manager)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(f"{ended} AND pid <> pg_backend_pid()")
    finally:
        other.close()
    reply = client.get("/")
    assert (reply.status_code, reply["Retry-After"]) == (503, "5")
    connection.close()  # the end of a request does this outside of tests
    assert client.get("/").status_code == 200
