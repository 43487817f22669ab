"""Queries that every submit runs, built and compiled once.

Django builds a queryset and compiles it to SQL each time anew, which takes several times as long as the database's
reply. Here the function that builds a queryset from named values is called once, with stand-ins for the values; the SQL
is kept, and each run puts the real values in their places. What comes back is what the queryset itself would give.

    @prepared_query
    def cursor_of(labeler: int) -> QuerySet[QueueCursor]:
        return QueueCursor.objects.filter(labeler=labeler)

    cursor_of.first(labeler=user.pk)

The function may not look at its values: it sees stand-ins, of a tuple as many as it is long. It may look at None,
booleans and frozensets, for each of which it is called and its SQL kept. Numbers are compared with columns of 64 bits:
of a smaller one Django knows that no stand-in is in it.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models import QuerySet, sql
from django.db.models.query import get_related_populators

from annotate.models.import_context import import_under_way

M = TypeVar("M", bound=models.Model)
Kept = TypeVar("Kept")
Shape = tuple[Any, ...]
MOST_KEPT = 256
"""Shapes of one query whose SQL a process keeps."""
Update = tuple[QuerySet[Any], dict[str, Any]]


class PreparedQuery(Generic[M]):
    """A function that builds a queryset, and the SQL of it for each shape of its values."""

    def __init__(self, build: Callable[..., QuerySet[M]]) -> None:
        self.build = build
        self._compiled: dict[Shape, _Select] = {}
        self._counts: dict[Shape, _Statement] = {}

    def all(self, **values: Any) -> list[M]:
        if () in values.values():  # nothing is in an empty list
            return []
        if import_under_way() is not None:  # which sees its own unfinished rows as well
            return list(self.build(**values))
        shape = _shape(values)
        if (compiled := self._compiled.get(shape)) is None:
            stand_ins = _stand_ins(values)
            compiled = _keep(self._compiled, shape, _Select.of(self.build(**stand_ins), stand_ins))
        return list(compiled.objects(values))

    def first(self, **values: Any) -> M | None:
        """The only one, or the first where the queryset is cut at one."""
        return next(iter(self.all(**values)), None)

    def count(self, **values: Any) -> int:
        if () in values.values():
            return 0
        if import_under_way() is not None:
            return self.build(**values).count()
        shape = _shape(values)
        if (compiled := self._counts.get(shape)) is None:
            stand_ins = _stand_ins(values)
            queryset = self.build(**stand_ins).order_by().values("pk")
            statement, parameters = queryset.query.get_compiler(queryset.db).as_sql()
            statement = f"SELECT COUNT(*) FROM ({statement}) AS counted"
            compiled = _keep(self._counts, shape, _Statement.of(queryset.db, statement, parameters, stand_ins))
        with _cursor(compiled.database) as cursor:
            cursor.execute(compiled.statement, compiled.parameters_of(values))
            return int(cursor.fetchone()[0])


class PreparedUpdate:
    """A function that gives a queryset and what to set of its rows. Call it for the number of rows that changed."""

    def __init__(self, build: Callable[..., Update]) -> None:
        self.build = build
        self._compiled: dict[Shape, _Statement] = {}

    def __call__(self, **values: Any) -> int:
        if import_under_way() is not None:
            queryset, changes = self.build(**values)
            return queryset.update(**changes)
        shape = _shape(values)
        if (compiled := self._compiled.get(shape)) is None:
            stand_ins = _stand_ins(values)
            queryset, changes = self.build(**stand_ins)
            query = queryset.query.chain(sql.UpdateQuery)
            query.add_update_values(changes)  # type: ignore[attr-defined]
            statement, parameters = query.get_compiler(queryset.db).as_sql()
            compiled = _keep(self._compiled, shape, _Statement.of(queryset.db, statement, parameters, stand_ins))
        with _cursor(compiled.database) as cursor:
            cursor.execute(compiled.statement, compiled.parameters_of(values))
            return int(cursor.rowcount)


prepared_query = PreparedQuery
prepared_update = PreparedUpdate


def insert(row: M) -> M:
    """Save a new row, whose fields hold plain values. Models whose `save` or signals do more don't come here."""
    model, database = type(row), "default"
    connection = connections[database]
    if (compiled := _inserts.get(model)) is None:
        meta = model._meta
        query = sql.InsertQuery(model)
        fields = [field for field in meta.local_concrete_fields if not field.generated and field is not meta.pk]
        query.insert_values(fields, [row])
        compiler = query.get_compiler(database)
        compiler.returning_fields = list(meta.db_returning_fields)
        ((statement, _parameters),) = compiler.as_sql()
        compiled = _inserts[model] = _Insert(statement, tuple(fields), tuple(meta.db_returning_fields))
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in compiled.fields]
    with _cursor(database) as cursor:
        cursor.execute(compiled.statement, values)
        returned = cursor.fetchone()
    for field, value in zip(compiled.returned, returned, strict=True):
        setattr(row, field.attname, value)
    row._state.adding, row._state.db = False, database
    return row


@dataclass(frozen=True, slots=True)
class _Insert:
    statement: str
    fields: tuple[Any, ...]
    returned: tuple[Any, ...]


_inserts: dict[type[models.Model], _Insert] = {}


@dataclass(frozen=True)
class _Statement:
    """SQL with its parameters: constants, or (name, place in a tuple) of a value."""

    database: str
    statement: str
    parameters: tuple[Any, ...]

    @classmethod
    def of(
        cls, database: str, statement: str, parameters: Sequence[Any], stand_ins: dict[str, Any], **more: Any
    ) -> Any:
        places = {
            _adapted(part, connections[database].ops): _Place(name, number)
            for name, value in stand_ins.items()
            for number, part in enumerate(value if isinstance(value, tuple) else (value,))
            if not _is_constant(part)
        }
        found = tuple(
            places.get(parameter, parameter) if _is_plain(parameter) else parameter for parameter in parameters
        )
        if missing := set(places.values()) - {place for place in found if isinstance(place, _Place)}:
            raise LookupError(f"not every value stands in the SQL as it is: {missing}, {statement}")
        if connections[database].vendor == "postgresql":
            statement, found = _with_constants(statement, found, database)
        return cls(database, statement, found, **more)

    def parameters_of(self, values: dict[str, Any]) -> list[Any]:
        operations = connections[self.database].ops
        return [
            _adapted(place.of(values), operations) if isinstance(place, _Place) else place for place in self.parameters
        ]


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    number: int

    def of(self, values: dict[str, Any]) -> Any:
        value = values[self.name]
        return value[self.number] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class _Select(_Statement):
    """A query whose rows become objects, as `django.db.models.query.ModelIterable` makes them."""

    compiler: Any

    @classmethod
    def of(cls, queryset: QuerySet[Any], stand_ins: dict[str, Any]) -> "_Select":  # type: ignore[override]
        compiler = queryset.query.get_compiler(queryset.db)
        statement, parameters = compiler.as_sql()
        found: _Select = super().of(queryset.db, statement, parameters, stand_ins, compiler=compiler)
        return found

    @cached_property
    def converters(self) -> list[tuple[int, list[Any], Any]]:
        compiler = self.compiler
        found = compiler.get_converters([column[0] for column in compiler.select[: compiler.col_count]])
        return [(place, functions, expression) for place, (functions, expression) in found.items()]

    @cached_property
    def columns(self) -> tuple[Any, slice, list[str], list[Any]]:
        """The model, where its columns are, their names, and what makes the objects that were selected with it."""
        select, found = self.compiler.select, self.compiler.klass_info
        own = slice(found["select_fields"][0], found["select_fields"][-1] + 1)
        names = [column[0].target.attname for column in select[own]]
        return found["model"], own, names, get_related_populators(found, select, self.database)  # type: ignore[call-arg]

    def objects(self, values: dict[str, Any]) -> Iterator[Any]:
        connection = connections[self.database]
        with _cursor(self.database) as cursor:
            cursor.execute(self.statement, self.parameters_of(values))
            rows = cursor.fetchall()
        model, own, names, related = self.columns
        annotations = list((self.compiler.annotation_col_map or {}).items())
        for row in map(list, rows):
            for place, functions, expression in self.converters:
                for function in functions:
                    row[place] = function(row[place], expression, connection)
            made = model.from_db(self.database, names, row[own])
            for populator in related:
                populator.populate(row, made)
            for name, place in annotations:
                setattr(made, name, row[place])
            yield made


def _with_constants(statement: str, parameters: tuple[Any, ...], database: str) -> tuple[str, tuple[Any, ...]]:
    """With what is the same each time in the SQL itself: PostgreSQL's plan for any values can use the index of open
    tasks only where the SQL says that they are open."""
    from psycopg import sql

    with connections[database].cursor() as cursor:
        literals = [
            "%s" if isinstance(value, _Place) else sql.Literal(value).as_string(cursor.connection).replace("%", "%%")
            for value in parameters
        ]
    remaining = iter(literals)
    found = re.sub("%[s%]", lambda sign: next(remaining) if sign[0] == "%s" else "%%", statement)
    return found, tuple(value for value in parameters if isinstance(value, _Place))


def _keep(kept: dict[Shape, Kept], shape: Shape, compiled: Kept) -> Kept:
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[shape] = compiled
    return compiled


def _shape(values: dict[str, Any]) -> Shape:
    """By what the SQL differs: the length of a list, and whatever isn't put into it."""
    return tuple(
        (name, len(value) if isinstance(value, tuple) else value if _is_constant(value) else type(value))
        for name, value in values.items()
    )


def _stand_ins(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(map(_stand_in, value)) if isinstance(value, tuple) else _stand_in(value)
        for name, value in values.items()
    }


def _stand_in(value: Any) -> Any:
    """Another value of the same kind, which nothing else in the SQL equals."""
    if _is_constant(value):
        return value
    if isinstance(value, str):
        return secrets.token_hex(16)
    if isinstance(value, datetime):
        return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=secrets.randbits(48))
    if isinstance(value, int):
        return 2**60 + secrets.randbits(60)
    raise TypeError(f"a value of a prepared query is a whole number, a text or a moment, not {value!r}")


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool | frozenset)


def _adapted(value: Any, operations: Any) -> Any:
    """As the database's driver takes it."""
    if isinstance(value, datetime):
        return operations.adapt_datetimefield_value(value)
    # Of one type, or PostgreSQL would have a statement for each length of a number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return operations.adapt_integerfield_value(value, "BigIntegerField") if is_number else value


def _cursor(database: str) -> Any:
    """On PostgreSQL of statements that the server keeps (config.postgresql)."""
    connection: Any = connections[database]
    return getattr(connection, "prepared_cursor", connection.cursor)()


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | str | datetime)
