"""A guard over every test: nothing is written on a connection while one of its queries is still being read.

SQLite refuses such a write at once, without waiting, as soon as another process has written since the query began
("database is locked"). In a test with one process it would pass, so the guard fails it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.backends.utils import CursorWrapper
from django.db.models.sql import compiler

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "BEGIN IMMEDIATE")

_open = threading.local()
_read_in_chunks = compiler.cursor_iter
# Internal to Django: below the wrappers of a single connection, so that every connection is watched.
_execute, _executemany = (getattr(CursorWrapper, name) for name in ("_execute", "_executemany"))


@contextmanager
def refuse_writes() -> Iterator[None]:
    """Let a write fail with AssertionError while this thread reads a query in chunks, as `iterator()` does."""
    with (
        mock.patch.object(compiler, "cursor_iter", _counted),
        mock.patch.object(CursorWrapper, "_execute", _checked(_execute)),
        mock.patch.object(CursorWrapper, "_executemany", _checked(_executemany)),
    ):
        yield


def _counted(cursor: Any, *arguments: Any) -> Iterator[Any]:
    queries = vars(_open).setdefault("queries", [])
    queries.append(cursor)
    try:
        yield from _read_in_chunks(cursor, *arguments)
    finally:
        queries.remove(cursor)


def _checked(execute: Any) -> Any:
    def checked(self: CursorWrapper, sql: str, *arguments: Any) -> Any:
        if vars(_open).get("queries") and str(sql).lstrip().upper().startswith(WRITES):
            raise AssertionError(f"written while a query of the same thread is being read: {sql[:200]}")
        return execute(self, sql, *arguments)

    return checked
