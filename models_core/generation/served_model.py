"""Responses from a server that speaks OpenAI's protocol (vLLM, llama.cpp, a hosted one) instead of a model in memory.

One request per response, several at once, so that a lost response is asked for again alone. What passes (the server is
busy, silent, breaks off, or sends an unusable reply) is tried again after growing waits; what does not pass (a wrong
key, a model it does not have, a prompt too long for it) ends the command with the server's own words. The key comes
from OPENAI_API_KEY and goes into no file and no message.
"""

import contextlib
import hashlib
import http.client
import json
import math
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from models_core.contract.errors import BadInput, ServerFailed, Stopped
from models_core.contract.rows.records import Messages
from models_core.contract.runs.progress import Progress
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig
from models_core.generation.sampled_response import SampledResponse

KEY_VARIABLE = "OPENAI_API_KEY"
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before a request is made again: the first time, and at the most."""
LARGEST_REPLY = 64 * 1024 * 1024
MOST_TOKENS = 10**9
"""Tokens of a response beyond which a server's count is not believed."""
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Signs that would change how the rest of a sentence is shown: controls, and overrides of direction."""
LOOK = 0.2
"""Seconds between two looks at the stop signal."""


class _Passing(Exception):
    """Why a request is to be made again; `after`: seconds the server asked to wait."""

    def __init__(self, reason: str, *, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class RequestRefused(BadInput):
    """What a server refuses; the same request is not made again. `is_of_request`: another request may be taken."""

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.is_of_request = status in (400, 413, 422)


Finished = Callable[[int, list[SampledResponse]], None]
Key = TypeVar("Key")
Given = TypeVar("Given")


class Asking(Protocol):
    """The settings of whoever asks a server: which model, how many requests at once, how long, how often again."""

    @property
    def served_model(self) -> str: ...
    @property
    def server_requests(self) -> int: ...
    @property
    def server_timeout(self) -> float: ...
    @property
    def server_retries(self) -> int: ...


AskingT = TypeVar("AskingT", bound=Asking)


class Server(Generic[AskingT]):
    """`address` is that of the API, usually ending in /v1. Raises BadInput for one that cannot be.

    `responses` and `each` may be called once: whoever is still asking when they end is hung up on.
    """

    def __init__(self, address: str, *, settings: AskingT, stop: StopSignal, key: str | None = None) -> None:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            raise BadInput(f"{address} is no address of a server.") from None
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise BadInput(f"The address of a server looks like http://host:8000/v1; the key goes into {KEY_VARIABLE}.")
        self.host, self.port, self.is_secure = parts.hostname, port, parts.scheme == "https"
        self.path = parts.path.rstrip("/")
        self.name = f"{parts.scheme}://{parts.netloc}{self.path}"
        self.settings = settings
        self.key = os.environ.get(KEY_VARIABLE) if key is None else key
        self.stop = stop
        self.ended = threading.Event()
        self.retries = 0
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def model(self) -> str:
        """The model to ask for: the setting, or the first that the server names."""
        if self.settings.served_model:
            return self.settings.served_model
        name: str = self.tried(lambda: self.exchange("GET", "/models", None, read=first_model))
        return name

    def responses(
        self: "Server[SampleConfig]",
        chats: Sequence[Messages],
        *,
        only: Sequence[int],
        samples: int,
        finished: Finished,
        progress: Progress | None = None,
    ) -> None:
        """`samples` responses to each chat of `only`; `finished` is called in this thread with a chat's index and them.

        Raises Stopped, BadInput for what the server refuses, ServerFailed where it does not answer.
        """
        model = self.model()
        keys = [(chat, number) for chat in only for number in range(samples)]
        got: dict[int, dict[int, SampledResponse]] = {chat: {} for chat in only}
        asked = self.each(keys, lambda key: self.complete(self._body(model, chats[key[0]], key)))
        for done, ((chat, number), response) in enumerate(asked, start=1):
            got[chat][number] = response
            if progress is not None:
                progress(done, len(keys))
            if len(got[chat]) == samples:
                finished(chat, [response for _, response in sorted(got.pop(chat).items())])

    def each(self, keys: Iterable[Key], ask: Callable[[Key], Given]) -> Iterator[tuple[Key, Given]]:
        """What `ask` gives for each key, called in threads, `server_requests` of them at once; in order of arrival.

        Raises what `ask` raises, and Stopped, without waiting for the others.
        """
        upcoming = iter(keys)
        pool = ThreadPoolExecutor(self.settings.server_requests, thread_name_prefix="server")
        waiting: dict[Future[Given], Key] = {}

        def fill() -> None:
            while len(waiting) < self.settings.server_requests:
                try:
                    key = next(upcoming)
                except StopIteration:
                    return
                waiting[pool.submit(ask, key)] = key

        try:
            fill()
            while waiting:
                ready, _ = wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED)
                self.stop.check()
                for future in ready:
                    key = waiting.pop(future)
                    yield key, future.result()
                fill()
        finally:
            self._hang_up()
            pool.shutdown(wait=True, cancel_futures=True)

    def complete(self, body: bytes) -> SampledResponse:
        """What the server completes a chat with: a request as JSON, made again while it fails for a passing reason."""
        return self.tried(lambda: self.exchange("POST", "/chat/completions", body, read=read_completion))

    def _body(self: "Server[SampleConfig]", model: str, chat: Messages, key: tuple[int, int]) -> bytes:
        """What is sent. Settings outside OpenAI's protocol (vLLM knows them) are left out where they do nothing."""
        settings = self.settings
        values: dict[str, Any] = {
            "model": model,
            "messages": list(chat),
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": request_seed(settings.seed, key),
        }
        if settings.server_logprobs:
            values["logprobs"] = True
        if settings.top_k:
            values["top_k"] = settings.top_k
        if settings.repetition_penalty != 1.0:
            values["repetition_penalty"] = settings.repetition_penalty
        return json.dumps(values, ensure_ascii=False).encode()

    def tried(self, request: Callable[[], Any]) -> Any:
        """What the request gives, made again while it fails for a passing reason."""
        for number in range(self.settings.server_retries + 1):
            try:
                return request()
            except _Passing as reason:
                if number == self.settings.server_retries:
                    tries = "once" if number == 0 else f"{number + 1} times"
                    raise ServerFailed(f"The server {self.name} was asked {tries} and {reason}.") from None
                # Random, so that requests that were refused together don't come back together.
                growing = min(FIRST_WAIT * 2**number, LONGEST_WAIT) * random.uniform(0.5, 1.0)
                with self._lock:
                    self.retries += 1
                if self.ended.wait(min(max(growing, reason.after), LONGEST_WAIT)) or self.stop.requested:
                    raise Stopped from None
        raise AssertionError("the last try returns or raises")

    def exchange(self, method: str, path: str, body: bytes | None, *, read: Callable[[Any], Any]) -> Any:
        """One request and what `read` finds in its reply. Raises _Passing, BadInput, Stopped."""
        content = self.content(method, path, body)
        try:
            return read(json.loads(content))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
            raise _Passing("sent an unusable reply") from None

    def content(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of the reply to one request. Raises _Passing, BadInput, Stopped."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        deadline = time.monotonic() + self.settings.server_timeout
        connection = self._connection()
        with self._lock:
            self._open.add(connection)
        try:
            connection.request(method, self.path + path, body=body, headers=headers)
            response = connection.getresponse()
            content = _content(response, connection, deadline=deadline)
        except TimeoutError:
            raise _Passing(f"did not answer within {self.settings.server_timeout:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            raise BadInput(f"The server {self.name} cannot be trusted: {error.verify_message}.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self.ended.is_set():
                raise Stopped from None
            raise _Passing(f"broke off ({_words(error)})") from None
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
        if response.status in PASSING:
            raise _Passing(
                f"answered with status {response.status}", after=_seconds(response.headers.get("Retry-After"))
            )
        if response.status != 200:
            raise RequestRefused(
                f"The server {self.name} refuses with status {response.status}: {self._complaint(content)}",
                status=response.status,
            )
        return content

    def _complaint(self, content: bytes) -> str:
        """The server's own words, one line of them, without the key, which some servers repeat."""
        text = content.decode("utf-8", errors="replace")
        with contextlib.suppress(ValueError, RecursionError):  # not JSON: the words as they are
            error = json.loads(text)
            error = error.get("error", error) if isinstance(error, dict) else error
            text = str(error.get("message", text)) if isinstance(error, dict) else str(error)
        words = " ".join(CONTROLS.sub(" ", repaired(text)).split())
        if self.key:
            words = words.replace(self.key, "(key)")
        return f"{words[:300]}…" if len(words) > 300 else words or "no reason given."

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.is_secure else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=self.settings.server_timeout)

    def _hang_up(self) -> None:
        """Wake everyone who waits for a server or for another try."""
        self.ended.set()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):  # it may be closed in this moment
                    connection.sock.shutdown(socket.SHUT_RDWR)


def _content(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, *, deadline: float) -> bytes:
    """The body, read until the deadline: a server that sends a byte now and then must not hold us for ever."""
    parts, size = [], 0
    while part := response.read1(65_536):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
        if size > LARGEST_REPLY:
            raise ValueError("its reply does not end")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def read_completion(row: Any) -> SampledResponse:
    choice = row["choices"][0]
    text = choice["message"]["content"]
    is_null = text is None  # no text at all: nothing but tool calls, or a refusal
    if is_null:
        text = ""
    if not isinstance(text, str):
        raise TypeError
    whole = repaired(text)
    reason = choice.get("finish_reason")
    entries = (choice.get("logprobs") or {}).get("content")
    counted = (row.get("usage") or {}).get("completion_tokens")
    is_count = isinstance(counted, int) and not isinstance(counted, bool) and 0 <= counted < MOST_TOKENS
    return SampledResponse(
        text=whole,
        finish_reason=reason if reason in ("stop", "length") else "unknown",
        logprob=None if entries is None else _sum_of(entries),
        tokens=max(0, counted - (reason == "stop")) if is_count else len(entries or []),
        is_null=is_null,
        is_repaired=whole != text,
    )


def _sum_of(entries: Any) -> float | None:
    """The log-probability of a whole response, None where one of its tokens has none that is a finite number."""
    try:
        total = sum(float(entry["logprob"]) for entry in entries)
    except (LookupError, OverflowError, TypeError, ValueError):
        return None
    return total if math.isfinite(total) else None


def repaired(text: str) -> str:
    """A text with U+FFFD for NUL and each half of a surrogate pair, which no row can hold; whole pairs are joined."""
    return text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def first_model(row: Any) -> str:
    name = row["data"][0]["id"]
    if not isinstance(name, str):
        raise TypeError
    return repaired(name)


def request_seed(seed: int, key: tuple[int, int]) -> int:
    """A number of its own for each response, the same in every run: [0, 2^31)."""
    digest = hashlib.blake2b(repr((seed, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**31


def _seconds(text: str | None) -> float:
    """The wait that a Retry-After header asks for; dates are not understood."""
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:120]
