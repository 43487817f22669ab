"""Long lists page by page, by key: a page costs the same at the first row and at the millionth."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from django.db.models import QuerySet
from ninja import Field, Schema

Item = TypeVar("Item")


class PageQuery(Schema):
    cursor: str = Field("", pattern="^[0-9]{0,18}$", description="`next` of the page before; empty for the first.")
    limit: int = Field(50, ge=1, le=200, description="Rows of a page.")

    @property
    def before(self) -> int | None:
        return int(self.cursor) if self.cursor else None


class Page(Schema, Generic[Item]):
    items: list[Item]
    next: str | None = Field(description="The `cursor` of the next page; null behind the last.")


def page(found: "QuerySet[Any]", wanted: PageQuery, shown: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The newest rows below the cursor, each as `shown` gives it."""
    found = found.order_by("-pk")
    if wanted.before is not None:
        found = found.filter(pk__lt=wanted.before)
    rows: Sequence[Any] = list(found[: wanted.limit + 1])
    following = str(rows[wanted.limit - 1].pk) if len(rows) > wanted.limit else None
    return {"items": [shown(row) for row in rows[: wanted.limit]], "next": following}


def finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value
