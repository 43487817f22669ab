"""Requests to Hone, repeated where that is safe: every request of this client is either read-only or counts once."""

import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MOST_TRIES = 5
LONGEST_WAIT = 60.0
AGAIN = frozenset({429, 502, 503, 504})
UNREACHABLE = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class HoneError(Exception):
    """A refusal. `detail` is its sentence, `errors` what is wrong with each field."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(f"{detail} ({status})")
        self.status, self.detail, self.errors = status, detail, errors or []


class Form:
    """A body of fields and a file, as a page's form sends them."""

    def __init__(self, file: Path, **fields: str) -> None:
        self.file, self.fields = file, fields

    def encoded(self) -> tuple[str, bytes]:
        """(content type, body); the file is in memory."""
        boundary = uuid.uuid4().hex
        name = re.sub(r"[\r\n]", " ", self.file.name)
        name = re.sub(r'([\\"])', r"\\\1", name)
        parts = [f'name="{field}"\r\n\r\n{value}'.encode() for field, value in self.fields.items()]
        head = f'name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        parts.append(head.encode() + self.file.read_bytes())
        before = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
        body = b"".join(before + part + b"\r\n" for part in parts)
        return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the address that was given, and to none that this one names."""

    def redirect_request(self, *arguments: Any, **values: Any) -> None:
        return None


class Transport:
    """`url`: of the site, without /api. A connection that fails, or a reply that asks for patience, is tried again."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0, tries: int = MOST_TRIES) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no address of http or https")
        self.url = url.rstrip("/")
        self._token, self._timeout, self._tries = token, timeout, tries
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def call(
        self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None, key: str = ""
    ) -> Any:
        """The JSON of the reply, None for an empty one. `key`: the Idempotency-Key. Raises HoneError."""
        with self.opened(method, path, query=query, body=body, key=key) as reply:
            content = reply.read()
        return json.loads(content) if content else None

    def opened(
        self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None, key: str = ""
    ) -> IO[bytes]:
        """The reply, to be read and closed by the caller. Raises HoneError, and OSError where there is no reply."""
        chosen = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        address = f"{self.url}/api/v1{path}" + (f"?{urllib.parse.urlencode(chosen)}" if chosen else "")
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data = None
        if isinstance(body, Form):
            headers["Content-Type"], data = body.encoded()
        elif body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        elif method != "GET":
            data = b""
        if key:
            headers["Idempotency-Key"] = key
        for wait in self._waits():
            request = urllib.request.Request(address, data=data, headers=headers, method=method)
            try:
                reply: IO[bytes] = self._opener.open(request, timeout=self._timeout)
                return reply
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in AGAIN or wait is None:
                        raise _refusal(error) from None
                    wait = max(wait, _seconds(error.headers.get("Retry-After", "")))
            except UNREACHABLE:
                if wait is None:
                    raise
            time.sleep(min(wait, LONGEST_WAIT))
        raise AssertionError("the last try returns or raises")

    def _waits(self) -> Iterator[float | None]:
        """Seconds to wait after each try that failed; None after the last."""
        yield from (0.25 * 2.0**number for number in range(self._tries - 1))
        yield None


def _refusal(error: urllib.error.HTTPError) -> HoneError:
    try:
        problem = json.loads(error.read())
        return HoneError(error.code, str(problem["detail"]), problem.get("errors"))
    except (ValueError, TypeError, KeyError):  # of a proxy in between, or a redirection
        return HoneError(error.code, str(error.reason))


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
