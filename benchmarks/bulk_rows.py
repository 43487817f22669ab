"""Rows by the million, written by a few statements of SQL that PostgreSQL and SQLite both understand.

A column that a statement doesn't name gets its field's default, as a row would that Django saves. Triggers and foreign
keys are passed by meanwhile: they cost more than the rows.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.utils import timezone


def insert(model: type[models.Model], source: str, **expressions: str) -> None:
    """A row for each row of `source` (what stands behind FROM); `expressions` are SQL by the names of columns."""
    fields = [field for field in model._meta.concrete_fields if not field.generated]
    # Without an expression the database numbers the rows.
    fields = [field for field in fields if not field.primary_key or field.column in expressions]
    given = {str(field.column): expressions.get(str(field.column)) or _default(field) for field in fields}
    if unknown := set(expressions) - set(given):
        raise LookupError(f"{model.__name__} has no columns {sorted(unknown)}")
    columns, values = ", ".join(given), ", ".join(given.values())
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {values} FROM {source}")


def numbers(count: int) -> str:
    """A source with the numbers n from 0 to below `count`."""
    if connection.vendor == "postgresql":
        return f"generate_series(0, {count - 1}) AS numbers(n)"
    return (
        f"(WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1}) "
        "SELECT n FROM numbers) AS numbers"
    )


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json_of("'" + json.dumps(value).replace("'", "''") + "'")
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def json_of(text: str) -> str:
    return f"({text})::jsonb" if connection.vendor == "postgresql" else f"({text})"


def text_of(number: str) -> str:
    return f"CAST({number} AS text)"


def random_number(bits: int) -> str:
    if connection.vendor == "postgresql":
        return f"CAST(floor(random() * {2**bits}) AS bigint)"
    return f"(random() & {2**bits - 1})"


def sha256(text: str) -> str:
    """In hexadecimal; inside `writing`."""
    if connection.vendor == "postgresql":
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"
    return f"sha256({text})"


def first_digits(digest: str) -> str:
    """The number that the first eight hexadecimal digits of a digest are; inside `writing`."""
    if connection.vendor == "postgresql":
        return f"('x' || substr({digest}, 1, 8))::bit(32)::bigint"
    return f"hexadecimal(substr({digest}, 1, 8))"


@contextmanager
def writing(changed: Sequence[type[models.Model]]) -> Iterator[None]:
    """In one transaction; then the next numbers of these models' rows are set, and the database learns its tables."""
    with (
        connection.constraint_checks_disabled(),
        _without_waiting_for_the_disk(),
        transaction.atomic(),
        connection.cursor() as cursor,
        _without_triggers(cursor),
    ):
        yield
        for statement in connection.ops.sequence_reset_sql(no_style(), list(changed)):
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


@contextmanager
def _without_triggers(cursor: Any) -> Iterator[None]:
    if connection.vendor == "postgresql":
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        return
    cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    triggers = cursor.fetchall()
    for name, _sql in triggers:
        cursor.execute(f"DROP TRIGGER {name}")
    yield
    for _name, sql in triggers:
        cursor.execute(sql)


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    """SQLite: with functions that PostgreSQL has, too."""
    if connection.vendor == "postgresql":
        yield
        return
    connection.ensure_connection()
    functions = connection.connection
    functions.create_function("sha256", 1, lambda text: hashlib.sha256(text.encode()).hexdigest(), deterministic=True)
    functions.create_function("hexadecimal", 1, lambda digits: int(digits, 16), deterministic=True)
    with connection.cursor() as cursor:
        former = {}
        for name, value in (("synchronous", "OFF"), ("cache_size", "-1000000")):
            former[name] = cursor.execute(f"PRAGMA {name}").fetchone()[0]
            cursor.execute(f"PRAGMA {name} = {value}")
        try:
            yield
        finally:
            for name, value in former.items():
                cursor.execute(f"PRAGMA {name} = {value}")


def _default(field: "models.Field[Any, Any]") -> str:
    if getattr(field, "auto_now_add", False):
        return literal(timezone.now().isoformat(sep=" ").removesuffix("+00:00") + _zone())
    value = field.get_default()
    if callable(field.default) and isinstance(value, int):
        raise LookupError(f"{field} is another number in each row: give an expression")
    if value is None and not field.null and not field.primary_key:
        raise LookupError(f"{field} has no default: give an expression")
    return literal(value)


def _zone() -> str:
    return "+00:00" if connection.vendor == "postgresql" else ""
