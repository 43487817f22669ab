"""Tables of pages as CSV files that a spreadsheet opens as they are meant."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from django.http import HttpResponse

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""


def csv_file(name: str, rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """The rows as a download; with a byte order mark, by which Excel knows UTF-8."""
    written = StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    reply = HttpResponse("\ufeff" + written.getvalue(), content_type="text/csv; charset=utf-8")
    reply["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return reply


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(DANGEROUS):
        return f"'{value}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value
