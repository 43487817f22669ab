"""Long work on the database in short transactions, so that nobody else waits.

SQLite has one write lock. The first waiter in line tries every 2 ms (see config.sqlite3): a lock that is held for
HOLD_SECONDS and then left alone for PAUSE_SECONDS goes to one of them, and in the next pause to the next. PostgreSQL
locks rows, so there batches are larger and nobody pauses.
"""

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from django.db import connection, transaction

HOLD_SECONDS = {"sqlite": 0.04, "postgresql": 0.4}
PAUSE_SECONDS = {"sqlite": 0.01, "postgresql": 0.0}
FIRST_BATCH = 20
LARGEST_BATCH = 1_000

Item = TypeVar("Item")


class Pace:
    """Cuts work into batches, each as large as fits into one short transaction by the time the last ones took.

    for batch in pace.batches(rows):
        with pace.transaction():
            write(batch)
    """

    def __init__(self, *, largest: int = LARGEST_BATCH) -> None:
        self.size = min(FIRST_BATCH, largest)
        self.largest = largest
        self._count = 0
        self._ended_at = 0.0

    def batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """The items in their order, in lists. What reading them takes counts as pause."""
        unread = iter(items)
        while batch := list(islice(unread, self.size)):
            self._count = len(batch)
            yield batch

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction for the batch at hand, after a pause in which others may have the lock."""
        rest = PAUSE_SECONDS[connection.vendor] - (time.perf_counter() - self._ended_at)
        if rest > 0 and not connection.in_atomic_block:
            time.sleep(rest)
        # SQLite works in this thread. Its processor time is the same on a busy machine, where small batches would only
        # make more of them; PostgreSQL works elsewhere.
        clock = time.thread_time if connection.vendor == "sqlite" else time.perf_counter
        with no_garbage_collection(), transaction.atomic():
            # After BEGIN: waiting for others is no reason for smaller batches.
            began = clock()
            yield
            taken = clock() - began
        self._ended_at = time.perf_counter()
        fitting = int(self._count * HOLD_SECONDS[connection.vendor] / max(taken, 1e-6))
        self.size = max(1, min(fitting, 2 * self.size, self.largest))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """A full collection takes up to half a second in a large process; it waits until this is left."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
