"""Choices of the policy in use, from the live worker: a run of its queue for each request.

The chats of labelers wait in the same queue, so only MOST_WAITING requests of the gateway are in it at once; what comes
beyond is refused, and tried again. A run whose web process has not looked for ABANDONED is cancelled.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import stored_messages
from annotate.errors import Refused
from annotate.models import Author, GatewaySettings, User
from rlhf.gateway import stop_sequences
from rlhf.gateway.chat_requests import LONGEST_CHAT, ChatRequest, sampling
from rlhf.gateway.client_connection import ClientConnection
from rlhf.gateway.openai_errors import OpenAIError
from rlhf.loop import versions
from rlhf.loop.sampling import finish_reason
from rlhf.models import GatewayReply, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.queues import workers
from rlhf.runs.runs import Lease

OPTION = "gateway"
"""Of a run's options."""
MOST_WAITING = 4
ABANDONED = timedelta(seconds=20)
SEEN_SECONDS = 3.0
LOOK_SECONDS = 0.05
LONGEST_SECONDS = 900.0
RETRY_SECONDS = 5.0
Row = dict[str, Any]


class LiveChoices:
    """One request of the live worker. Close it: a run that has not ended is cancelled, and nothing of it is kept."""

    def __init__(self, chat: ChatRequest, *, settings: GatewaySettings, by: User, client: ClientConnection) -> None:
        """Raises OpenAIError."""
        self._client = client
        self._ends_at = time.monotonic() + LONGEST_SECONDS
        self.sampling = sampling(chat)
        self._stops = stop_sequences.parsed(chat.body)
        messages = chat.messages()
        if sum(len(turn["content"]) for turn in messages) > LONGEST_CHAT:
            raise OpenAIError(
                _("The live worker takes chats of up to %(most)d characters.") % {"most": LONGEST_CHAT},
                param="messages",
                code="context_length_exceeded",
            )
        if TrainingRun.LIVE_QUEUE not in workers.listening():
            raise OpenAIError(
                _("No model can reply: no worker is listening to the queue live."),
                status=503,
                code="no_worker",
                retry_after=RETRY_SECONDS,
            )
        version = versions.active_policy(settings.project)
        assert version.author is not None  # every policy has one
        self.author: Author = version.author
        with transaction.atomic():
            # The lock of the project's settings counts one request after the other.
            GatewaySettings.objects.select_for_update(no_key=True).get(pk=settings.pk)
            if GatewayReply.objects.exclude(run__status__in=TrainingRun.ENDED).count() >= MOST_WAITING:
                raise OpenAIError(
                    _("%(most)d requests wait for the model already. Try again in a moment.") % {"most": MOST_WAITING},
                    status=503,
                    code="overloaded",
                    retry_after=RETRY_SECONDS,
                )
            self._run = runs.enqueue(
                project=settings.project,
                stage=Stage.SAMPLE,
                config={"seed": random.SystemRandom().randrange(2**31)} | self.sampling,
                options={"samples": chat.n, OPTION: True},
                inputs={RunInput.Role.MODEL: version},
                by=by,
                queue=TrainingRun.LIVE_QUEUE,
            )
            self._reply = GatewayReply.objects.create(run=self._run, messages=messages)
        self._has_ended = False
        self._choices: list[Row] = []
        self._counts: Row = {}

    def close(self) -> None:
        if not self._has_ended:
            _cancel(self._run)
        GatewayReply.objects.filter(pk=self._reply.pk).delete()

    def whole(self) -> Row:
        """Raises OpenAIError, ClientGone."""
        for _text in self._texts():
            pass
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", "content": choice["text"]},
                "finish_reason": choice["finish_reason"],
                "logprobs": None,
            }
            for number, choice in enumerate(self._choices)
        ]
        return {"object": "chat.completion", "choices": choices, "usage": self._usage()}

    def chunks(self) -> Iterator[Row]:
        """Raises OpenAIError, ClientGone."""
        sent = ""
        for written_so_far in self._texts():
            text = stop_sequences.certain(written_so_far, self._stops)
            if text.startswith(sent) and len(text) > len(sent):
                yield _chunk(0, {"content": text[len(sent) :]}, is_first=not sent)
                sent = text
        for number, choice in enumerate(self._choices):
            written = "" if number else sent
            if not written or len(choice["text"]) > len(written):
                yield _chunk(number, {"content": choice["text"][len(written) :]}, is_first=not written)
            yield _chunk(number, {}, finish_reason=choice["finish_reason"])
        yield {"object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _texts(self) -> Iterator[str]:
        """The text of the first choice as it grows, until all choices are there."""
        seen = time.monotonic()
        while True:
            found = GatewayReply.objects.filter(pk=self._reply.pk)
            row = found.values("text", "choices", "usage", "run__status", "run__failure").first()
            if row is None:
                # This process was so slow that it counted as gone.
                raise _late()
            if row["choices"] is not None:
                self._choices = [self._ended(choice) for choice in row["choices"]]
                self._counts, self._has_ended = row["usage"], True
                return
            if row["run__status"] in TrainingRun.ENDED:
                self._has_ended = True
                raise _failure(row["run__failure"])
            if row["text"]:
                yield row["text"]
            if time.monotonic() > self._ends_at:
                raise _late()
            if time.monotonic() - seen > SEEN_SECONDS:
                found.update(seen_at=timezone.now())
                seen = time.monotonic()
            self._client.wait(LOOK_SECONDS)

    def _ended(self, choice: Row) -> Row:
        text, is_cut = stop_sequences.cut(choice["text"], self._stops)
        return {"text": text, "finish_reason": "stop"} if is_cut else choice

    def _usage(self) -> dict[str, int]:
        read, written = (int(self._counts.get(f"{name}_tokens", 0)) for name in ("prompt", "completion"))
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _chunk(number: int, delta: Row, *, is_first: bool = False, finish_reason: str | None = None) -> Row:
    delta = {"role": "assistant", **delta} if is_first else delta
    choice = {"index": number, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _late() -> OpenAIError:
    return OpenAIError(_("The model does not reply in time."), status=504, code="timeout")


def _failure(failure: Mapping[str, Any]) -> OpenAIError:
    """Why a run ended without choices. What its process reported of the request itself is the program's matter."""
    reason = stored_messages.text(failure) if failure else ""
    if failure.get("code") == "process_message":
        return OpenAIError(reason, param="messages", code="refused_by_model")
    sentence = _("The model could not respond. The log of its worker says why.")
    return OpenAIError(sentence, status=502, code="model_failed", retry_after=RETRY_SECONDS)


def _cancel(run: TrainingRun) -> None:
    with suppress(Refused):  # it has ended meanwhile
        runs.request_cancel(run=run, by=None)


# --- in the live worker, as rlhf.playground.live_replies ---


def call_fields(run: TrainingRun, heartbeat: Callable[[], None]) -> Row:
    """What the live process is asked for, besides the model and the settings."""
    reply = GatewayReply.objects.get(run=run)
    return {"id": str(reply.pk), "prompt": reply.messages, "stream": True}


def keep_text(run: TrainingRun, text: str) -> None:
    GatewayReply.objects.filter(run=run).update(text=text.replace("\0", ""))


def is_abandoned(run: TrainingRun) -> bool:
    """Whether nobody waits for the reply any more."""
    return not GatewayReply.objects.filter(run=run, seen_at__gte=timezone.now() - ABANDONED).exists()


def store(run: TrainingRun, lease: Lease, row: Mapping[str, Any]) -> dict[str, int]:
    """Keep the finished choices for the web process; returns counts for the run. Raises LeaseLost."""
    reasons = {"eos": "stop", "length": "length"}
    choices = [
        {"text": each["text"].replace("\0", ""), "finish_reason": reasons.get(finish_reason(each), "stop")}
        for each in row["responses"]
    ]
    with transaction.atomic():
        runs.renew(lease)
        GatewayReply.objects.filter(run=run).update(choices=choices, usage=row.get("usage", {}))
    return {"responses": len(choices)}


def remove_abandoned() -> None:
    """End what a web process left behind that is gone: its runs, and what its programs had asked."""
    gone = GatewayReply.objects.filter(seen_at__lt=timezone.now() - ABANDONED).select_related("run")
    for reply in gone:
        _cancel(reply.run)
        reply.delete()
