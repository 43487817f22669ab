"""Messages to workers, sent from a thread of their own, so that an unresponsive broker delays no page.

A message only notifies a worker: its row is written already, and the scheduler sends a lost message again. So a sender
waits for WAIT_SECONDS at most, and not at all while earlier messages are stuck.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError as BrokerError

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
MAX_PENDING = 1000
"""Messages that one process keeps for an unresponsive broker; the scheduler sends further ones."""

_late: ContextVar[list[str] | None] = ContextVar("late", default=None)


class Outbox:
    """A thread that sends messages in order. A forked child begins with an empty outbox."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, tuple[Any, ...], str, Context, threading.Event, list[bool]]] = deque()
        self._changed = threading.Condition()
        self._process = 0
        self._is_stuck = False

    def send(self, task: str, arguments: tuple[Any, ...], *, queue: str) -> bool:
        """Returns whether the broker has accepted it."""
        done, result = threading.Event(), [False]
        with self._changed:
            if self._process != os.getpid():
                self._process, self._is_stuck = os.getpid(), False
                self._waiting.clear()
                threading.Thread(target=self._run, name="messages to workers", daemon=True).start()
            if len(self._waiting) >= MAX_PENDING:
                return False
            self._waiting.append((task, arguments, queue, copy_context(), done, result))
            self._changed.notify()
            wait = 0.0 if self._is_stuck else WAIT_SECONDS
        if not done.wait(wait):
            self._is_stuck = True
            log.warning(
                "The broker has not accepted the message %s%s yet; the scheduler sends it again if it is lost.",
                task,
                arguments,
            )
        return result[0]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                task, arguments, queue, context, done, result = self._waiting[0]
            try:
                # As the sender would: what is noted with a message is the request that it belongs to.
                context.run(current_app.send_task, task, arguments, queue=queue)
                result[0], self._is_stuck = True, False
            except BrokerError as error:
                self._is_stuck = True
                log.warning(
                    "The broker did not accept the message %s%s (%s); the scheduler sends it again.",
                    task,
                    arguments,
                    error,
                )
            except Exception:
                log.exception("The message %s%s could not be sent", task, arguments)
            with self._changed:
                self._waiting.popleft()
            done.set()


_outbox = Outbox()


def send(task: str, *arguments: Any, queue: str) -> None:
    """Send a Celery message now; `collect_unsent` collects it if the broker has not accepted it in time."""
    if not _outbox.send(task, arguments, queue=queue) and (late := _late.get()) is not None:
        late.append(task)


@contextmanager
def collect_unsent() -> Iterator[list[str]]:
    """Collects the tasks whose messages the broker did not accept at once, in this block."""
    late: list[str] = []
    token = _late.set(late)
    try:
        yield late
    finally:
        _late.reset(token)
