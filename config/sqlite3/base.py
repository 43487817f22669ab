"""The thread that waits longest for SQLite's one write lock is the next to have it, within a process.

SQLite itself gives the lock to whoever asks at the right moment, and its waiters sleep for up to 100 ms between two
looks: beside many short transactions some wait for seconds while others never wait. Here the threads of a process stand
in line, and the first of the line looks every LOOK_SECONDS, so that all processes have the same chance.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Event, Lock
from typing import Any

from django.db.backends.sqlite3 import base

LOOK_SECONDS = 0.002
LONGEST_KEPT = 8_000
"""Characters of a statement that is kept with SQLite's own signs for its values."""
WRITES = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "REPLACE")


class Line:
    """Threads in the order in which they came."""

    def __init__(self) -> None:
        self._places: deque[Event] = deque()
        self._lock = Lock()

    @contextmanager
    def turn(self, *, seconds: float) -> Iterator[bool]:
        """Wait until this thread is the first; whether it became that within so many seconds."""
        place = Event()
        with self._lock:
            self._places.append(place)
            self._places[0].set()
        try:
            yield place.wait(seconds)
        finally:
            with self._lock:
                self._places.remove(place)
                if self._places:
                    self._places[0].set()


_line = Line()


class Cursor(base.SQLiteCursorWrapper):
    """Waits in line for the write lock, for `seconds` in all; then it is Django's OperationalError as ever."""

    seconds = 5.0

    def convert_query(self, query: str, *, param_names: Any = None) -> str:
        if param_names is None and len(query) <= LONGEST_KEPT:
            return _with_question_marks(query)
        return str(super().convert_query(query, param_names=param_names))

    def execute(self, query: str, params: Any = None) -> Any:
        # Within a transaction the lock is held already.
        if self.connection.in_transaction or not query.startswith(WRITES):
            return super().execute(query, params)
        return self._in_line(lambda: super(Cursor, self).execute(query, params))

    def _in_line(self, write: Callable[[], Any]) -> Any:
        until = time.monotonic() + self.seconds
        with _line.turn(seconds=self.seconds):
            self.connection.execute("PRAGMA busy_timeout = 0")
            try:
                while True:
                    try:
                        return write()
                    except sqlite3.OperationalError as error:
                        if "locked" not in str(error) or time.monotonic() >= until:
                            raise
                    time.sleep(LOOK_SECONDS)
            finally:
                self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * self.seconds)}")


@lru_cache(maxsize=256)
def _with_question_marks(query: str) -> str:
    """As Django has it, which looks through a thousand characters of each of a submit's statements."""
    return base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%")


class DatabaseWrapper(base.DatabaseWrapper):
    def create_cursor(self, name: Any = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.seconds = float(self.settings_dict["OPTIONS"].get("timeout", Cursor.seconds))
        return cursor
