"""Workers and the scheduler show the supervisor that they are alive: each touches a file of its own every few seconds.

It is done where messages are taken and sent, so that a process that is stopped or stuck shows nothing. A file rather
than the database: a database that is away is no reason to start a worker anew.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "SIGN_OF_LIFE"
"""In the environment of a program that the supervisor started: the path of its file."""
TOUCH_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A worker writes to the database between two signs, which may take the 20 s that SQLite waits for its lock."""


def give() -> None:
    """Show that this process is alive, if anybody wants to know."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()


class Watched:
    """The sign of one program: what its process is given, and the supervisor's question.

    Without a broker a worker and the scheduler do nothing but try to reach it, and show nothing meanwhile: that time
    isn't held against them.
    """

    def __init__(
        self, path: Path, *, is_broker_answering: Callable[[], bool], silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.path = path
        self.environment = {VARIABLE: str(path)}
        self._is_broker_answering = is_broker_answering
        self._silence_seconds = silence_seconds
        self._excused_at = 0.0

    def prepare(self) -> None:
        """Take away what an earlier process left."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)

    def is_answering(self) -> bool:
        now = time.time()
        try:
            seen_at = self.path.stat().st_mtime
        except OSError:
            seen_at = 0.0
        if abs(now - seen_at) < self._silence_seconds:
            return True
        if not self._is_broker_answering():
            self._excused_at = now
        return abs(now - self._excused_at) < self._silence_seconds
