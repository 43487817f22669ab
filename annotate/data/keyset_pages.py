"""Pages of long lists by key: each goes on behind the last row of the one before, however many rows came meanwhile."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

SIZE = 25
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?", re.ASCII)
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[Row]):
    """following: the `after` of the next page, empty behind the last. is_first: nothing comes before."""

    rows: list[Row]
    following: str
    is_first: bool


def keyset_page(
    found: QuerySet[Row], after: str, *, order: Sequence[str] = ("-pk",), size: int = SIZE
) -> KeysetPage[Row]:
    """The page behind `after`, the `following` of the one before; of what is no place in the list, the first.

    order: names of numbers as `order_by` takes them, which together are unique.
    """
    place = _place(after, fields=len(order))
    found = found.order_by(*order)
    if place:
        found = found.filter(_behind(order, place))
    rows = list(found[: size + 1])
    following = ""
    if len(rows) > size:
        following = ":".join(repr(getattr(rows[size - 1], name.removeprefix("-"))) for name in order)
    return KeysetPage(rows[:size], following, not place)


def _place(written: str, *, fields: int) -> list[Any]:
    parts = written.split(":")
    if len(parts) != fields or not all(NUMBER.fullmatch(part) for part in parts):
        return []
    place = [float(part) if {".", "e"} & {*part} else int(part) for part in parts]
    return place if all(map(math.isfinite, place)) else []


def _behind(order: Sequence[str], place: Sequence[Any]) -> Q:
    """Behind by the first name, or level with it and behind by the next, and so on."""
    level, behind = Q(), Q()
    for name, value in zip(order, place, strict=True):
        field, comparison = name.removeprefix("-"), "lt" if name.startswith("-") else "gt"
        behind |= level & Q(**{f"{field}__{comparison}": value})
        level &= Q(**{field: value})
    # Said once more of the first name alone, so that an index is entered there.
    field, comparison = order[0].removeprefix("-"), "lte" if order[0].startswith("-") else "gte"
    return Q(**{f"{field}__{comparison}": place[0]}) & behind
