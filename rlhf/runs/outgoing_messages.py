"""Messages to workers, sent from a thread of their own, so that a broker that doesn't answer holds up no page.

A message only wakes a worker: the row that it is about is written already, and the scheduler sends a lost message
again. So whoever sends one waits for a moment at most, and not at all while earlier ones are stuck.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError as BrokerError

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
MAX_PENDING = 1000
"""Messages that one process keeps for a broker that doesn't answer; those beyond are left to the scheduler."""

_late: ContextVar[list[str] | None] = ContextVar("late", default=None)


class Outbox:
    """One thread that sends what is put in, in order. A forked child begins with an empty one."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, tuple[Any, ...], str, threading.Event, list[bool]]] = deque()
        self._changed = threading.Condition()
        self._process = 0
        self._is_stuck = False

    def send(self, task: str, arguments: tuple[Any, ...], *, queue: str) -> bool:
        """Whether the broker has it by now."""
        done, result = threading.Event(), [False]
        with self._changed:
            if self._process != os.getpid():
                self._process, self._is_stuck = os.getpid(), False
                self._waiting.clear()
                threading.Thread(target=self._run, name="messages to workers", daemon=True).start()
            if len(self._waiting) >= MAX_PENDING:
                return False
            self._waiting.append((task, arguments, queue, done, result))
            self._changed.notify()
            wait = 0.0 if self._is_stuck else WAIT_SECONDS
        if not done.wait(wait):
            self._is_stuck = True
            log.warning("The broker took no message for %s%s yet; if it never does, it is sent again.", task, arguments)
        return result[0]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                task, arguments, queue, done, result = self._waiting[0]
            try:
                current_app.send_task(task, arguments, queue=queue)
                result[0], self._is_stuck = True, False
            except BrokerError as error:
                self._is_stuck = True
                log.warning(
                    "The broker took no message for %s%s (%s); the scheduler will send it again.",
                    task,
                    arguments,
                    error,
                )
            except Exception:
                log.exception("A message for %s%s could not be sent", task, arguments)
            with self._changed:
                self._waiting.popleft()
            done.set()


_outbox = Outbox()


def send(task: str, *arguments: Any, queue: str) -> None:
    """Send a Celery message now; whoever notes late ones hears of it if the broker hasn't got it in a moment."""
    if not _outbox.send(task, arguments, queue=queue) and (late := _late.get()) is not None:
        late.append(task)


@contextmanager
def collect_unsent() -> Iterator[list[str]]:
    """The tasks whose messages the broker didn't take at once, while this block runs."""
    late: list[str] = []
    token = _late.set(late)
    try:
        yield late
    finally:
        _late.reset(token)
