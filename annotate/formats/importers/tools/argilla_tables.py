"""Argilla's records as tables of `datasets`: a column for each field, and for each question who answered it how.

Version 2 (`to_datasets`) has "QUESTION.responses", with ".users" and ".status" beside it; version 1 has the question's
own column, a list of {user_id, value, status} or, as `datasets` stores such lists, an object of three lists.
"""

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats.rows import Fields

ENDING = ".responses"
KEYS = {"user_id", "value", "status"}
Annotations = dict[str, list[dict[str, Any]]]


def is_table(row: dict[str, Any]) -> bool:
    """Whether the columns say what people answered, or what was suggested to them."""
    keys = [key for key in row if isinstance(key, str)]
    return any(
        (key.endswith(ENDING) and f"{key}.users" in row)
        or (key.endswith("-suggestion") and f"{key}-metadata" in row)
        or _annotations_of(row[key]) is not None
        for key in keys
    )


def read_annotations(row: Fields) -> Annotations:
    """{question: what each person answered}; suggestions are named, and nobody's answer."""
    found: Annotations = {}
    for key in list(row.values):
        if key.endswith(ENDING):
            row.ignore(key, f"{key}.users", f"{key}.status")
            found[key.removesuffix(ENDING)] = list(_zipped(row.values, key))
        elif (given := _annotations_of(row.values[key])) is not None:
            row.ignore(key)
            found[key] = given
        elif ".suggestion" in key or "-suggestion" in key:
            row.ignore(key)
            if key.endswith("suggestion") and row.values[key] not in (None, "", [], {}):
                row.leave(key, _("a model's suggestions, which nobody confirmed"))
    return found


def _zipped(values: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    values_given, users, states = (_list(values.get(name)) for name in (key, f"{key}.users", f"{key}.status"))
    for at, value in enumerate(values_given):
        yield {
            "value": _order(value),
            "user_id": users[at] if at < len(users) else None,
            "status": states[at] if at < len(states) else None,
        }


def _annotations_of(value: Any) -> list[dict[str, Any]] | None:
    """The answers in a column of version 1, or None for another column."""
    if isinstance(value, dict) and set(value) == KEYS and isinstance(value["value"], list):
        columns = {name: _list(value[name]) for name in KEYS}
        if len({len(column) for column in columns.values()}) != 1:
            return None
        return [
            {"user_id": user, "value": _order(given), "status": status}
            for user, given, status in zip(columns["user_id"], columns["value"], columns["status"], strict=True)
        ]
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(item, dict) and {"user_id", "value"} <= set(item) <= KEYS for item in value):
        return None
    return [item | {"value": _order(item["value"])} for item in value]


def _order(value: Any) -> Any:
    """A ranking that `datasets` stored as two lists, as the list of ranks that it was."""
    if isinstance(value, dict) and set(value) == {"rank", "value"}:
        ranks, names = _list(value["rank"]), _list(value["value"])
        if len(ranks) == len(names):
            return [{"rank": rank, "value": name} for rank, name in zip(ranks, names, strict=True)]
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
