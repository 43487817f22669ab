"""A server that speaks OpenAI's protocol itself (vLLM, llama.cpp, a hosted one), asked in a program's place.

What it streams is passed on as it comes. While it is silent the program's own connection is looked at, so that a server
stops generating for somebody who has left. What the server says of a wrong request reaches the program; that it is
down, silent, breaks off or refuses Hone's key is an honest 502 or 504, without its words: they may hold what isn't the
program's business. Its key is in the environment of the web process, in no row and no message.
"""

import http.client
import io
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from rlhf.ai_feedback.endpoints import Endpoint
from rlhf.gateway.client_connection import ClientConnection
from rlhf.gateway.openai_errors import OpenAIError

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 120.0
"""Without a byte, after which an upstream counts as broken: a long prompt takes its time to the first token."""
LONGEST_SECONDS = 900.0
"""Of a whole reply."""
MOST_BYTES = 64 * 2**20
"""Of a whole reply."""
LONGEST_EVENT = 8 * 2**20
LONGEST_REASON = 500
OF_THE_REQUEST = frozenset({400, 404, 409, 413, 422})
"""Statuses with which a server refuses a request for what it asks."""
DONE = b"[DONE]"


class Upstream:
    """One request of a server. Close it: what is still being generated then ends."""

    def __init__(self, endpoint: Endpoint, body: Mapping[str, Any], *, client: ClientConnection) -> None:
        """Raises OpenAIError, ClientGone."""
        self._client = client
        self._ends_at = time.monotonic() + LONGEST_SECONDS
        self._connection = _connected(endpoint)
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock
        self._connection.sock = _WatchedSocket(self._socket, self._wait)
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if endpoint.key_variable:
            headers["Authorization"] = f"Bearer {os.environ.get(endpoint.key_variable, '')}"
        path = urlsplit(endpoint.address).path.rstrip("/")
        try:
            with _broken_as_error():
                self._connection.request(
                    "POST", f"{path}/chat/completions", json.dumps(body, ensure_ascii=False).encode(), headers
                )
                self._response = self._connection.getresponse()
                if self._response.status != 200:
                    raise self._refusal()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def whole(self) -> dict[str, Any]:
        """A reply in one piece. Raises OpenAIError, ClientGone."""
        with _broken_as_error():
            read = self._response.read(MOST_BYTES + 1)
        return _reply(read if len(read) <= MOST_BYTES else b"")

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The pieces of a streamed reply, up to its end. Raises OpenAIError, ClientGone."""
        rest, seen = b"", 0
        while True:
            with _broken_as_error():
                block = self._response.read1(65_536)
            seen += len(block)
            if not block:
                return  # whoever reads knows whether the choices have ended
            if seen > MOST_BYTES or len(rest) > LONGEST_EVENT:
                raise broken()
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:"):
                    continue  # empty lines, comments, and fields that the protocol has no use for
                if (data := line[5:].strip()) == DONE:
                    return
                yield _reply(data)

    def _wait(self) -> None:
        """Until the server has sent something."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return
        left = min(SILENT_SECONDS, self._ends_at - time.monotonic())
        if left <= 0 or not self._client.wait(left, beside=self._socket):
            raise _late()

    def _refusal(self) -> OpenAIError:
        status = self._response.status
        if status in (429, 503):
            value = self._response.getheader("Retry-After", "")
            retry_after = float(value) if value.isdecimal() and len(value) < 6 else 5.0
            return OpenAIError(
                _("The model’s server is busy. Try again in a moment."),
                status=status,
                code="upstream_busy",
                retry_after=retry_after,
            )
        if status in (401, 403):
            sentence = _("The model’s server refuses Hone’s key. The operator of this site sets it.")
            return OpenAIError(sentence, status=502, code="upstream_key")
        if status not in OF_THE_REQUEST:
            return broken()
        try:
            said = json.loads(self._response.read(65_536))
        except ValueError:
            said = None
        error = said.get("error", said) if isinstance(said, dict) else None
        found = error if isinstance(error, dict) else {}
        # A message may quote what a database or a log can't hold; it goes into a reply alone.
        message, param = str(found.get("message") or "")[:LONGEST_REASON], found.get("param")
        return OpenAIError(
            message or _("The model’s server refuses the request."),
            status=400 if status == 422 else status,
            param=param[:LONGEST_REASON] if isinstance(param, str) else None,
            code="upstream_refused",
        )


def _reply(data: bytes) -> dict[str, Any]:
    """An object of the protocol. Raises OpenAIError for anything else, and for an error that the server streams."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise broken() from None
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise broken()
    reply: dict[str, Any] = found
    return reply


def _connected(endpoint: Endpoint) -> http.client.HTTPConnection:
    parts = urlsplit(endpoint.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
        connection.connect()
    except TimeoutError:
        sentence = _("The model’s server does not accept the connection in time.")
        raise OpenAIError(sentence, status=504, code="upstream_timeout", retry_after=5.0) from None
    except (OSError, ValueError):
        sentence = _("The model’s server can’t be reached.")
        raise OpenAIError(sentence, status=502, code="upstream_unreachable", retry_after=5.0) from None
    assert connection.sock is not None
    # What is waited for is bounded by `_wait`; a write, or the rest of a TLS record, by this.
    connection.sock.settimeout(SILENT_SECONDS)
    return connection


def _late() -> OpenAIError:
    return OpenAIError(_("The model’s server does not reply in time."), status=504, code="upstream_timeout")


def broken() -> OpenAIError:
    sentence = _("The model’s server broke off, or sent what is no reply.")
    return OpenAIError(sentence, status=502, code="upstream_broken", retry_after=5.0)


@contextmanager
def _broken_as_error() -> Iterator[None]:
    """What goes wrong on the way to the server becomes an OpenAIError."""
    try:
        yield
    except TimeoutError:
        raise _late() from None
    except (OSError, http.client.HTTPException, ValueError):
        raise broken() from None


class _WatchedSocket:
    """The socket of a connection as http.client uses one; before each read it waits by `wait`, and it stays open until
    the request is closed."""

    def __init__(self, plain: socket.socket, wait: Callable[[], None]) -> None:
        self._plain, self._wait = plain, wait

    def makefile(self, mode: str, *args: Any, **kwargs: Any) -> io.BufferedReader:
        return io.BufferedReader(_WatchedReads(self._plain, self._wait))

    def sendall(self, data: bytes) -> None:
        self._plain.sendall(data)

    def setsockopt(self, *args: Any) -> None:
        self._plain.setsockopt(*args)

    def close(self) -> None:
        """The request closes the socket itself."""


class _WatchedReads(io.RawIOBase):
    def __init__(self, plain: socket.socket, wait: Callable[[], None]) -> None:
        self._plain, self._wait = plain, wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._wait()
        return self._plain.recv_into(buffer)
