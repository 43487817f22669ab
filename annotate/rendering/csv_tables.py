"""Tables as CSV files that a spreadsheet opens as they are meant."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _

CONTENT_TYPE = "text/csv; charset=utf-8"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell may not begin with, or a spreadsheet computes it."""
BYTE_ORDER_MARK = "\ufeff"
"""Spreadsheets take a file without it for another encoding than UTF-8."""


def safe_cell(text: str) -> str:
    """The text so that no spreadsheet computes it: one that looks like a formula gets an apostrophe before it.

    So does one that looks like a formula behind apostrophes: `text_of_cell` has the text again.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def text_of_cell(cell: str) -> str:
    """The text of which `safe_cell` made a cell."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def csv_line(values: Sequence[Any]) -> str:
    """One line of a CSV file, its texts made safe."""
    line: str = csv.writer(_Echo()).writerow([_cell(value, digits=None) for value in values])
    return line


def csv_lines(rows: Iterable[Sequence[Any]], *, digits: int | None = None) -> Iterator[str]:
    """CSV, line by line; texts are made safe, None is empty, fractions have so many significant digits, or all."""
    writer = csv.writer(_Echo())
    yield BYTE_ORDER_MARK
    for row in rows:
        line: str = writer.writerow([_cell(value, digits=digits) for value in row])
        yield line


def table_or_404(rows: Iterable[Sequence[Any]] | None) -> Iterable[Sequence[Any]]:
    """The rows of the table that an address names; Http404 where there is none of that name."""
    if rows is None:
        raise Http404(_("There is no such table."))
    return rows


def csv_file(name: str, rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """The table of a chart as a download."""
    return HttpResponse("".join(csv_lines(rows, digits=6)), content_type=CONTENT_TYPE, headers=_download(name))


def csv_stream(name: str, rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """Many rows as a download, written while they are read."""
    return StreamingHttpResponse(csv_lines(rows), content_type=CONTENT_TYPE, headers=_download(name))


def _cell(value: Any, *, digits: int | None) -> Any:
    if isinstance(value, str):
        return safe_cell(value)
    return f"{value:.{digits}g}" if digits and isinstance(value, float) else value


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.csv"'}


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text
