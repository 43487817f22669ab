"""Rows that all tests of a module have: written once for the module, and what a test changes is rolled back to them.

A module imports `module_rows` and `db`, makes its rows in fixtures of module scope that ask for `module_rows`, and
hands each test a copy.deepcopy of the objects. None of its tests may commit (`transaction=True`, a browser, a worker).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

__all__ = ["db", "module_rows"]


@pytest.fixture(scope="module")
def module_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), rolled_back():
        yield


@pytest.fixture
def db(module_rows: None) -> Iterator[None]:
    """In place of pytest-django's: a savepoint in the module's transaction."""
    with rolled_back():
        yield
        if not connection.needs_rollback:
            connection.check_constraints()


@contextmanager
def rolled_back() -> Iterator[None]:
    atomic = transaction.atomic()
    atomic._from_testcase = True  # as Django's own tests mark theirs, so that a durable block may begin in it
    with atomic:
        yield
        transaction.set_rollback(True)
