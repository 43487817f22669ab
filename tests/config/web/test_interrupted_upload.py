"""An upload whose client leaves before its end, from a socket through gunicorn's reader to the page."""

import socket
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from django.urls import reverse
from gunicorn.config import Config
from gunicorn.http import wsgi

from annotate.models import DataImport, Prompt, Upload
from config.web.web_worker import BUFFERED_BYTES, BufferingWorker, Connection
from tests.factories.cast import Cast, cast
from tests.harness.api_client import ApiClient

__all__ = ["cast"]

LINE = b'{"id": "%d", "prompt": "Name bird number %d."}\n'
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="format"\r\n\r\nauto\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="birds.jsonl"\r\n\r\n'
)


def sent(head: bytes, body: bytes, *, declared: int) -> int:
    """The status for a client that sends these bytes of a body of the declared length, and leaves."""
    client, server = socket.socketpair()
    statuses: list[str] = []
    with client, server:
        config = Config()
        client.sendall(head + b"Host: localhost\r\nContent-Length: %d\r\n\r\n" % declared + body)
        client.shutdown(socket.SHUT_WR)
        connection = Connection(config, server, ("127.0.0.1", 1), ("127.0.0.1", 80))
        connection.init()
        request = next(connection.parser)
        connection.parser.unreader.chunk = BufferingWorker._with_least_rate(connection)
        _response, environ = wsgi.create(request, server, ("127.0.0.1", 1), ("127.0.0.1", 80), config)
        reply = WSGIHandler()(environ, lambda status, headers, exc_info=None: statuses.append(status))
        reply.close()
    return int(statuses[0].split()[0])


def nothing_is_left() -> bool:
    kept = list((settings.HONE_DATA / "uploads").glob("*"))
    return not (kept or Prompt._base_manager.exists() or DataImport.objects.exists() or Upload.objects.exists())


@pytest.mark.any_database
def test_half_a_file_is_not_taken_for_the_file(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    token = "a" * 32
    head = f"POST {reverse('annotate:import', args=[cast.project.slug])} HTTP/1.1\r\nX-CSRFToken: {token}\r\n"
    head += f"Cookie: csrftoken={token}; {settings.SESSION_COOKIE_NAME}={client.session.session_key}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\n"
    rows = b"".join(LINE % (number, number) for number in range(20))
    body = FORM + rows
    assert sent(head.encode(), body, declared=BUFFERED_BYTES * 2) == 400
    assert nothing_is_left()
    # All of it, and it is imported.
    assert sent(head.encode(), body + b"\r\n--x--\r\n", declared=len(body) + 9) == 302
    assert Prompt.objects.count() == 20


def test_half_a_body_of_the_api_is_refused(cast: Cast) -> None:
    secret = ApiClient(cast.manager).secret
    head = "POST /api/v1/projects/kindness/models/1/benchmarks HTTP/1.1\r\n"
    head += f"Authorization: Bearer {secret}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    assert sent(head.encode(), FORM + LINE % (1, 1), declared=BUFFERED_BYTES * 2) == 422
    assert nothing_is_left()


@pytest.fixture(autouse=True)
def _connection_stays_open() -> Iterator[None]:
    """A handled request would close that of the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
