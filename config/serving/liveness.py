"""Liveness of workers and the scheduler for the supervisor: each touches a file of its own every few seconds.

The loop that receives or sends messages touches it, so that a stopped or stuck process doesn't. A file rather than the
database: an unreachable database is no reason to restart a worker.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "LIVENESS_FILE"
"""In the environment of a program that the supervisor started: the path of its file."""
TOUCH_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A worker writes to the database between two touches, which may take the 20 s that SQLite waits for its lock."""


def touch() -> None:
    """Touch the file of this process, where the supervisor asks for one."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()


class LivenessFile:
    """The file of one program: the environment of its process, and the supervisor's health check.

    Without a broker a worker and the scheduler only try to reach it and touch nothing: that time doesn't count.
    """

    def __init__(
        self, path: Path, *, is_broker_responding: Callable[[], bool], silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.path = path
        self.environment = {VARIABLE: str(path)}
        self._is_broker_responding = is_broker_responding
        self._silence_seconds = silence_seconds
        self._excused_at = 0.0

    def prepare(self) -> None:
        """Remove the file of an earlier process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)

    def is_responding(self) -> bool:
        now = time.time()
        try:
            seen_at = self.path.stat().st_mtime
        except OSError:
            seen_at = 0.0
        if abs(now - seen_at) < self._silence_seconds:
            return True
        if not self._is_broker_responding():
            self._excused_at = now
        return abs(now - self._excused_at) < self._silence_seconds
