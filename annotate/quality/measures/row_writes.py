"""Rows that are written by their key in one statement, with all that Python has to do for them done before.

Django's bulk_create converts values and composes its statement while the transaction is open, which on SQLite is most
of the time for which the write lock is held.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

Row = Mapping[str, Any]


class RowWrite:
    """INSERT .. ON CONFLICT DO UPDATE, and DELETE, of rows that a unique constraint tells apart.

    key, values: columns. condition: SQL of the constraint's condition, if it has one.
    """

    def __init__(
        self, model: type[models.Model], *, key: Sequence[str], values: Sequence[str], condition: str = ""
    ) -> None:
        self._key, self._columns = list(key), [*key, *values]
        self._fields = {column: model._meta.get_field(column) for column in self._columns}
        table, marks = model._meta.db_table, ", ".join(["%s"] * len(self._columns))
        self._upsert = (
            f"INSERT INTO {table} ({', '.join(self._columns)}) VALUES ({marks}) "
            f"ON CONFLICT ({', '.join(key)}) {f'WHERE {condition} ' if condition else ''}"
            f"DO UPDATE SET {', '.join(f'{column} = EXCLUDED.{column}' for column in values)}"
        )
        conditions = [*(f"{column} = %s" for column in key), *([condition] if condition else [])]
        self._delete = f"DELETE FROM {table} WHERE {' AND '.join(conditions)}"

    def upserts(self, rows: Iterable[Row]) -> Callable[[], None]:
        """What writes them."""
        return self._prepared(self._upsert, self._columns, rows)

    def deletes(self, rows: Iterable[Row]) -> Callable[[], None]:
        """What deletes the rows of these keys."""
        return self._prepared(self._delete, self._key, rows)

    def _prepared(self, statement: str, columns: list[str], rows: Iterable[Row]) -> Callable[[], None]:
        connection = connections[DEFAULT_DB_ALIAS]  # itself: the usual proxy looks it up anew for every value
        fields = [(column, self._fields[column].get_db_prep_save) for column in columns]  # type: ignore[union-attr]
        values = [[prepare(row[column], connection) for column, prepare in fields] for row in rows]

        def write() -> None:
            if values:
                with connection.cursor() as cursor:
                    cursor.executemany(statement, values)

        return write
