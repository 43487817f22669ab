"""A reply of a served model as it grows: one request, streamed as server-sent events, for somebody who waits at a page.

Nothing is asked for twice: whoever waits rather hears what is wrong. A fault is a code with values, which a page words
in its reader's language; the text that had arrived is there already. A request is bounded in size, in silence, in the
time until its reply begins, and in time as a whole: `server_timeout`. Timers hang up, so that a header sent byte by
byte is bounded too.
"""

import codecs
import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from models_core.contract.errors import Stopped
from models_core.contract.rows.records import Messages
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig
from models_core.generation.sampled_response import SampledResponse
from models_core.generation.served_model import Server, first_model, read_completion, repaired

FIRST_SECONDS = 30.0
"""Until the first event of a streamed reply is there, or the beginning of one that is not."""
SILENCE_SECONDS = 60.0
LARGEST_EVENT = 1024 * 1024
LARGEST_STREAM = 16 * 1024 * 1024
LARGEST_COMPLAINT = 64 * 1024
MOST_CHARACTERS = 100_000
DONE = "[DONE]"
REFUSED_KEY, BUSY = (401, 403), 429

OnText = Callable[[str], None]
"""Takes the text so far, each time that more has come."""
Read = TypeVar("Read")


class StreamFault(Exception):
    """Why there is no reply, or only the beginning of one: a code, and values for its sentence."""

    def __init__(self, code: str, **values: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.values = values


class StreamingServer(Server[SampleConfig]):
    """`address` as Server takes it; `key_variable`: the environment variable that holds its key, if it has one.

    Raises BadInput for an address that cannot be, StreamFault where the environment lacks the key.
    """

    def __init__(self, address: str, *, settings: SampleConfig, stop: StopSignal, key_variable: str) -> None:
        key = os.environ.get(key_variable, "").strip() if key_variable else ""
        if key_variable and not key:
            raise StreamFault("served_without_key", variable=key_variable)
        super().__init__(address, settings=settings, stop=stop, key=key)
        self._socket: socket.socket | None = None
        self._first = _timer(FIRST_SECONDS, self._hang_up_unanswered)
        self._is_unanswered = False

    def leave(self) -> None:
        """Have `reply`, which another thread may be in, raise Stopped."""
        self.stop.requested = True
        self._hang_up()

    def reply(self, chat: Messages, on_text: OnText) -> tuple[str, SampledResponse]:
        """The name of the model, and its reply; `on_text` gets the text while it grows. Raises StreamFault, Stopped."""
        timer = _timer(self.settings.server_timeout, self._hang_up)
        timer.start()
        if self.settings.server_timeout > FIRST_SECONDS:
            self._first.start()
        try:
            name = self.settings.served_model
            if not name:
                with self._exchanged("GET", "/models", None) as reply:
                    name = _parsed(_whole(reply), first_model)
            with self._exchanged("POST", "/chat/completions", self._streaming_body(name, chat)) as reply:
                if "event-stream" in reply.headers.get("Content-Type", ""):
                    return name, self._streamed(reply, on_text)
                self._first.cancel()
                return name, _parsed(_whole(reply), read_completion)  # of a server that doesn't stream
        finally:
            timer.cancel()
            self._first.cancel()

    def _streaming_body(self, name: str, chat: Messages) -> bytes:
        values = json.loads(self._body(name, chat, (0, 0)))
        return json.dumps(values | {"stream": True}, ensure_ascii=False).encode()

    @contextlib.contextmanager
    def _exchanged(self, method: str, path: str, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
        """A reply with status 200, to be read within. Raises StreamFault for whatever goes wrong until its end."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = self._connection()
        connection.timeout = min(FIRST_SECONDS, self._longest_silence)
        try:
            self._connect(connection)
            connection.sock.settimeout(self._longest_silence)
            connection.request(method, self.path + path, body=body, headers=headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise self._refusal(reply)
            yield reply
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._fault(error) from None
        except StreamFault:
            if self.ended.is_set():  # what was read is unusable because we hung up
                raise self._fault(TimeoutError()) from None
            raise
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    @property
    def _longest_silence(self) -> float:
        return min(SILENCE_SECONDS, self.settings.server_timeout)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise StreamFault("served_untrusted", reason=str(error.verify_message)) from None
        except OSError as error:
            raise StreamFault("served_unreachable", reason=error.strerror or "no connection in time") from None
        # Kept here: a reply that ends with its connection takes the socket away from it.
        with self._lock:
            self._socket = connection.sock
        if self.ended.is_set():
            raise TimeoutError

    def _hang_up(self) -> None:
        """Wake whoever reads, wherever they read."""
        self.ended.set()
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _hang_up_unanswered(self) -> None:
        self._is_unanswered = True
        self._hang_up()

    def _fault(self, error: Exception) -> Exception:
        if self.stop.requested:
            return Stopped()
        if self._is_unanswered:
            return StreamFault("served_unanswered", seconds=round(FIRST_SECONDS))
        if self.ended.is_set():
            return StreamFault("served_slow", seconds=round(self.settings.server_timeout))
        if isinstance(error, TimeoutError):
            return StreamFault("served_silent", seconds=round(self._longest_silence))
        return StreamFault("served_cut")

    def _refusal(self, reply: http.client.HTTPResponse) -> StreamFault:
        if reply.status in REFUSED_KEY:
            return StreamFault("served_key_refused", status=reply.status)
        if reply.status == BUSY:
            return StreamFault("served_busy")
        words = self._complaint(reply.read1(LARGEST_COMPLAINT))
        code = "served_failed" if reply.status >= 500 else "served_refused"
        return StreamFault(code, status=reply.status, reason=words)

    def _streamed(self, reply: http.client.HTTPResponse, on_text: OnText) -> SampledResponse:
        """The events of a reply put together. Raises StreamFault, Stopped."""
        text, reason = "", ""
        for event in _events(reply):
            self._first.cancel()
            self.stop.check()
            if event == DONE:
                break
            more, ended = self._parsed_event(event)
            text, reason = text + more, ended or reason
            if len(text) > MOST_CHARACTERS:
                raise StreamFault("served_endless")
            if more:
                on_text(repaired(text).rstrip("\ufffd"))  # the other half of a pair may be to come
        else:
            if not reason:
                raise http.client.IncompleteRead(b"")
        whole = repaired(text)
        return SampledResponse(
            text=whole,
            finish_reason=reason if reason in ("stop", "length") else "unknown",
            logprob=None,
            tokens=0,
            is_repaired=whole != text,
        )

    def _parsed_event(self, event: str) -> tuple[str, str]:
        """(more text, why it ends or "") of an event. Raises StreamFault, also with what the server says went wrong."""
        try:
            row = json.loads(event)
            if row.get("error"):
                raise StreamFault("served_reported", reason=self._complaint(event.encode()))
            if not row["choices"]:  # the last event of some servers counts tokens alone
                return "", ""
            choice = row["choices"][0]
            more, ended = choice["delta"].get("content") or "", choice.get("finish_reason") or ""
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise StreamFault("served_unreadable") from None
        if not isinstance(more, str) or not isinstance(ended, str):
            raise StreamFault("served_unreadable")
        return more, ended


def _timer(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    return timer


def _events(reply: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each event (HTML Living Standard, 9.2.6); comments and other fields are passed over."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest, size = "", 0
    data: list[str] = []
    while part := reply.read1(65_536):
        size += len(part)
        *lines, rest = (rest + decoder.decode(part)).split("\n")
        if size > LARGEST_STREAM or len(rest) > LARGEST_EVENT:
            raise StreamFault("served_endless")
        for line in lines:
            line = line.removesuffix("\r")
            if line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
    if rest.startswith("data:"):
        data.append(rest.removeprefix("data:").strip())
    if data == [DONE]:  # without the empty line that ends an event
        yield DONE


def _whole(reply: http.client.HTTPResponse) -> bytes:
    parts, size = [], 0
    while part := reply.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_STREAM:
            raise StreamFault("served_endless")
    if reply.length:
        raise http.client.IncompleteRead(b"", reply.length)
    return b"".join(parts)


def _parsed(content: bytes, read: Callable[[Any], Read]) -> Read:
    try:
        return read(json.loads(content))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        raise StreamFault("served_unreadable") from None
