"""Pages of long lists, newest first, by key: a page costs the same at the first row and at the millionth.

Where a filter lets few rows through they are looked at directly. Else the newest rows are looked through, in windows
that grow, until a page is full or SECONDS are over: then the page says how far it came, and the next one goes on there.
"""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import QuerySet

PAGE = 50
SECONDS = 0.12
FIRST_WINDOW, LARGEST_WINDOW = 500, 50_000


class Filters(Protocol):
    """What a list shows. few: the keys among which all are that pass, where they are few. highest: the last that can.

    rows: all of the list, in no order.
    """

    @property
    def rows(self) -> QuerySet[Any]: ...

    @property
    def few(self) -> list[int] | None: ...

    @property
    def highest(self) -> int | None: ...

    def apply(self, rows: QuerySet[Any], *, window: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """window: the rows themselves, where they are only a part of the list."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Keys of rows, and the key before which the next page begins. `searched_to`: the time was over there."""

    numbers: list[int]
    before: int | None = None
    searched_to: int | None = None


def numbers(filters: Filters, *, before: int | None = None, seconds: float = SECONDS, size: int = PAGE) -> Found:
    """The keys of the newest rows below `before` that the filters let through."""
    all_rows = filters.rows.order_by("-pk")
    if before is not None:
        all_rows = all_rows.filter(pk__lt=before)
    if filters.few is not None:
        return _found(_keys(filters.apply(all_rows).filter(pk__in=filters.few), size + 1), size)
    if (highest := filters.highest) is not None:
        all_rows = all_rows.filter(pk__lte=highest)
    end, window = time.monotonic() + seconds, FIRST_WINDOW
    found: list[int] = []
    top: int | None = None
    while len(found) <= size:
        rest = all_rows if top is None else all_rows.filter(pk__lt=top)
        bottom = rest.values_list("pk", flat=True)[window - 1 : window].first()
        part = rest if bottom is None else rest.filter(pk__gte=bottom)
        began = time.monotonic()
        found += _keys(filters.apply(part, window=part), size + 1 - len(found))
        now = time.monotonic()
        if bottom is None:
            break
        top = bottom
        if len(found) <= size and now > end:
            return Found(numbers=found, before=top, searched_to=top)
        # A window shall take a quarter of the time that there is.
        window = min(LARGEST_WINDOW, 4 * window, max(1, int(window * seconds / 4 / max(now - began, 1e-4))))
    return _found(found, size)


def _keys(rows: QuerySet[Any], most: int) -> list[int]:
    return list(rows.values_list("pk", flat=True)[:most])


def _found(keys: list[int], size: int) -> Found:
    return Found(numbers=keys[:size], before=keys[size - 1] if len(keys) > size else None)
