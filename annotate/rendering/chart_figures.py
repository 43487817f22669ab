"""A chart as the page has it: a table, from which static/hone/charts.js draws when there are scripts; and intervals
that the server draws in a line of a table, for which no script is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.template.defaultfilters import floatformat
from django.utils.safestring import SafeString, mark_safe

from annotate.rendering import shown_numbers
from annotate.rendering.local_times import day
from annotate.rendering.shown_numbers import unlocalized


@dataclass(frozen=True, slots=True)
class Column:
    """is_drawn: the chart shows it, in the colour of its place among those that are drawn; others are in the table."""

    label: str
    is_drawn: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A number, with its digits behind the point; or a share with its interval. None: a dash."""

    value: float | None = None
    digits: int = 0
    share: Any = None


Row = tuple[date, Sequence[Cell]]
FEWEST_ROWS = 4
STRIP = 120
"""Width of an interval drawn in a line of a table, from 0 to 100%."""


@dataclass(frozen=True, kw_only=True)
class ChartFigure:
    """form: "stacked" or "shares" (see charts.js). csv: what `?csv=` calls its table. rows: (day, a cell a column)."""

    form: str
    title: str
    description: str
    csv: str
    first_column: str
    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def key(self) -> list[str]:
        """What the colours mean, where there are several."""
        drawn = [column.label for column in self.columns if column.is_drawn]
        return drawn if len(drawn) > 1 else []

    @property
    def body(self) -> SafeString:
        """The table's rows. A quarter of a year has a thousand cells, and a template takes half a dozen steps for each:
        it took most of the time of the page."""
        return mark_safe("".join(_row(*row) for row in self.rows))  # days and numbers


def _row(of: date, cells: Sequence[Cell]) -> str:
    head = f'<th scope="row" class="nowrap" data-at="{of.isoformat()}">{day(of)}</th>'
    return f"<tr>{head}{''.join(map(_cell, cells))}</tr>\n"


def _cell(cell: Cell) -> str:
    if (share := cell.share) is None:
        return f'<td class="number" data-value="{unlocalized(cell.value)}">{_shown(cell.value, cell.digits)}</td>'
    bounds = f'data-low="{unlocalized(share.low)}" data-high="{unlocalized(share.high)}"'
    return f'<td class="number" data-value="{unlocalized(share.rate)}" {bounds}>{shown_numbers.share(share)}</td>'


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else floatformat(value, digits)


@dataclass(frozen=True, slots=True)
class Strip:
    """A share with its interval on a line from 0 to 100%, a half marked (annotate/interval.html).

    Coordinates are texts with a point, whatever the reader's language writes decimals with.
    """

    at: str
    low: str
    width: str


def number(value: float) -> str:
    return f"{value:.1f}"


def strip(value: float | None, low: float | None, high: float | None) -> Strip | None:
    if value is None or low is None or high is None:
        return None
    return Strip(at=number(STRIP * value), low=number(STRIP * low), width=number(max(STRIP * (high - low), 1)))


def from_the_first_share(rows: Sequence[Row]) -> Sequence[Row]:
    """Without the rows before any share is known, so that a young project's chart isn't half empty."""
    known = [
        number for number, (_day, cells) in enumerate(rows) if any(cell.share and cell.share.total for cell in cells)
    ]
    first = known[0] if known else 0
    return rows[min(first, max(0, len(rows) - FEWEST_ROWS)) :]
