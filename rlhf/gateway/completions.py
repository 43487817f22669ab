"""From a request to its reply, whole or as a stream of events, and to what the project keeps of it.

What is kept is written when the last choice has ended, before the program hears so: nothing of the database stands
between a model and its first token. Of a program that leaves early the prompt is kept, and no response that did not
end.
"""

import json
import logging
import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db import DatabaseError
from django.http import HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data import user_conversations
from annotate.data.user_conversations import Choice, Conversation, Kept
from annotate.models import ApiToken, Author, GatewaySettings, Response
from rlhf.gateway import gateway_settings, openai_errors
from rlhf.gateway.chat_requests import LONGEST_CHAT, ChatRequest
from rlhf.gateway.client_connection import ClientConnection, ClientGone
from rlhf.gateway.concurrency import Slot
from rlhf.gateway.gateway_settings import Route
from rlhf.gateway.live_choices import LiveChoices
from rlhf.gateway.openai_errors import OpenAIError
from rlhf.gateway.upstream import Upstream, broken

FINISH_REASONS = {"stop": Response.FinishReason.EOS, "length": Response.FinishReason.LENGTH}
SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop")
"""Parameters of a request that are kept with its responses."""
LONGEST_KEPT = 200_000
"""Characters of a response that is kept."""

log = logging.getLogger(__name__)
Row = dict[str, Any]


class Source(Protocol):
    """What replies: an Upstream or LiveChoices."""

    def whole(self) -> Row: ...
    def chunks(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


@dataclass
class _Written:
    """A choice as far as it is there. `is_text`: nothing but text belongs to it."""

    parts: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    is_text: bool = True


class Completion:
    """One request that is being answered. Close it whatever became of it: its place and its model are free then."""

    def __init__(
        self, chat: ChatRequest, *, settings: GatewaySettings, token: ApiToken, client: ClientConnection
    ) -> None:
        """Raises OpenAIError, ClientGone."""
        self.key = f"chatcmpl-{secrets.token_hex(16)}"
        self._chat, self._settings, self._token, self._client = chat, settings, token, client
        self._created = int(time.time())
        self._written: dict[int, _Written] = {}
        self._kept: Kept | None = None
        self._is_closed = False
        self._route: Route = gateway_settings.route(settings, chat.model)
        self._slot = Slot(token)
        self._author: Author | None = None
        self._model = chat.model
        try:
            self._source = self._asked()
        except BaseException as error:
            if isinstance(error, ClientGone):
                self._keep()
            self._slot.give_back()
            raise

    def _asked(self) -> Source:
        if self._route.endpoint is None:
            live = LiveChoices(self._chat, settings=self._settings, by=self._token.user, client=self._client)
            self._author, self._model = live.author, live.author.name
            return live
        body = self._chat.for_upstream(self._route.model)
        return Upstream(self._route.endpoint, body, client=self._client)

    # --- in one piece ---

    def whole(self) -> Row:
        """Raises OpenAIError, ClientGone."""
        found = self._source.whole()
        for choice in found["choices"]:
            message = choice.get("message")
            self._note(choice, message if isinstance(message, dict) else {})
        kept = self._keep()
        reply = found | self._name() | {"object": "chat.completion"}
        return reply | ({"hone": _said_of(kept)} if kept is not None else {})

    # --- as a stream ---

    def events(self) -> Generator[bytes, None, None]:
        """The events of the stream. Raises OpenAIError, ClientGone."""
        for found in self._source.chunks():
            for choice in found["choices"]:
                delta = choice.get("delta")
                self._note(choice, delta if isinstance(delta, dict) else {})
            if not found["choices"] and not self._chat.include_usage:
                continue
            yield _event(found | self._name() | {"object": "chat.completion.chunk"})
        if not self._written or any(written.finish_reason is None for written in self._written.values()):
            raise broken()
        if (kept := self._keep()) is not None:
            # A comment of the stream: clients of the protocol pass over it.
            yield f": hone {json.dumps(_said_of(kept), ensure_ascii=False)}\n\n".encode()
        yield b"data: [DONE]\n\n"

    # --- both ---

    def close(self, *, has_left: bool = False) -> None:
        """`has_left`: the program, perhaps before the first word; its prompt is kept all the same."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._source.close()
            if self._kept is None and (self._written or has_left):
                self._keep()
        except DatabaseError:
            log.exception("The request %s could not be ended in the database", self.key)
        finally:
            self._slot.give_back()

    def _name(self) -> Row:
        return {"id": self.key, "created": self._created, "model": self._model}

    def _note(self, choice: Row, said: Row) -> None:
        """What a piece adds to a choice."""
        number = choice.get("index")
        written = self._written.setdefault(number if isinstance(number, int) else 0, _Written())
        content = said.get("content")
        if isinstance(content, str):
            written.parts.append(content)
        if content is not None and not isinstance(content, str):
            written.is_text = False
        if any(said.get(name) for name in ("tool_calls", "function_call", "refusal", "audio")):
            written.is_text = False
        if isinstance(reason := choice.get("finish_reason"), str):
            written.finish_reason = reason

    def _keep(self) -> Kept | None:
        """Keep the conversation, if the program asked for it. The program has its reply even where that fails."""
        if not self._chat.store:
            return None
        try:
            self._kept = self._unkept() or self._stored()
        except DatabaseError:
            log.exception("The conversation %s could not be kept", self.key)
            self._kept = Kept(completion=None, reason=_("The database is not available at the moment."))
        if self._kept.completion is not None:
            signals.gateway_event.send(Completion, name="kept")
        return self._kept

    def _stored(self) -> Kept:
        author = self._author or gateway_settings.author_of(self._settings, self._route)
        conversation = Conversation(
            key=self.key,
            messages=self._chat.messages(),
            choices=self._choices(),
            author=author,
            model=author.name,
            user=self._chat.user,
            metadata=self._chat.metadata,
            sampling={name: self._chat.body[name] for name in SAMPLING if name in self._chat.body},
        )
        return user_conversations.keep(conversation, settings=self._settings, token=self._token)

    def _unkept(self) -> Kept | None:
        """Why a conversation is none that a prompt can be made of; None where one can."""
        try:
            messages = self._chat.messages()
        except OpenAIError as error:
            return Kept(completion=None, reason=str(error))
        if sum(len(turn["content"]) for turn in messages) > LONGEST_CHAT:
            return Kept(completion=None, reason=_("The conversation is too long to be kept."))
        return None

    def _choices(self) -> list[Choice]:
        found = []
        for number in range(self._chat.n):
            written = self._written.get(number, _Written())
            text = _storable("".join(written.parts))
            is_whole = written.is_text and written.finish_reason is not None and len(text) <= LONGEST_KEPT
            reason = FINISH_REASONS.get(written.finish_reason or "", Response.FinishReason.UNKNOWN)
            found.append(Choice(text=text, finish_reason=reason if is_whole else None))
        return found


class EventStream:
    """The events of a completion as the server sends them, the first one read already: an error before it has a status
    of its own, one after it is an event."""

    def __init__(self, completion: Completion) -> None:
        """Raises OpenAIError, ClientGone."""
        self._completion = completion
        self._events = completion.events()
        self._first: bytes | None = next(self._events)

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return next(self._events)
        except ClientGone:
            self._completion.close(has_left=True)
            raise StopIteration from None
        except OpenAIError as error:
            signals.gateway_event.send(Completion, name="failures")
            return _event(openai_errors.body(error))

    def close(self) -> None:
        """Called by the server at the end, and when the program has left."""
        self._events.close()
        self._completion.close()


def respond(
    chat: ChatRequest, *, settings: GatewaySettings, token: ApiToken, client: ClientConnection
) -> HttpResponseBase:
    """The reply to a checked request. Raises OpenAIError, ClientGone."""
    completion = Completion(chat, settings=settings, token=token, client=client)
    try:
        if not chat.stream:
            response: HttpResponseBase = JsonResponse(completion.whole())
        else:
            response = StreamingHttpResponse(EventStream(completion), content_type="text/event-stream")
            response["X-Accel-Buffering"] = "no"  # nginx would collect the events
    except BaseException as error:
        completion.close(has_left=isinstance(error, ClientGone))
        raise
    if not chat.stream:
        completion.close()
    response["Cache-Control"] = "no-store"
    return response


def _event(found: Row) -> bytes:
    return b"data: " + json.dumps(found, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"


def _said_of(kept: Kept) -> Row:
    return {"stored": kept.completion is not None, "reason": kept.reason}


def _storable(text: str) -> str:
    """Without what a database or UTF-8 can't hold, which an upstream may send all the same."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
