"""Rows of a table by the names in its first row: CSV, TSV and .xlsx. Empty cells say nothing."""

import csv
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _

from annotate.formats.files import byte_streams, spreadsheets
from annotate.formats.files.byte_streams import BadFile, check_size, decoded, opened
from annotate.formats.rows import BadRow, Row

MOST_COLUMNS = 1_000
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def delimiter_of(path: Path, *, name: str = "") -> str:
    """What parts the columns of a table, by the file's name and its first line; empty for a file that is no table."""
    suffixes = [suffix.lower() for suffix in Path(name or path.name).suffixes[-2:]]
    suffix = next((suffix for suffix in suffixes if suffix in DELIMITERS), "")
    if not suffix:
        return ""
    with opened(path) as file:
        header = file.readline(byte_streams.BLOCK).decode("utf-8-sig", "replace")
    # Spreadsheets write ".csv" with semicolons where the comma is for decimals.
    return max((DELIMITERS[suffix], ",", ";", "\t"), key=header.count) if header.strip() else DELIMITERS[suffix]


def table_rows(path: Path, delimiter: str) -> Iterator[tuple[str, Row]]:
    """The rows of a CSV or TSV file by its header; empty cells say nothing."""
    # For the process; a field longer than a line of JSON may be is refused in both.
    csv.field_size_limit(byte_streams.LONGEST_LINE)
    rows = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() or (f"column {at}" if at > 1 else "") for at, name in enumerate(next(rows, []), start=1)]
        _check_header(header, path)
        begins, of_line = rows.line_num + 1, _("line %(number)d")
        for cells in rows:
            place, begins = of_line % {"number": begins}, rows.line_num + 1
            if not any(cells):
                continue
            if len(cells) > len(header):
                yield place, _too_many(cells, header)
                continue
            # The nameless first column of a table is the number of the row.
            yield place, {name: cell for name, cell in zip(header, cells, strict=False) if cell and name}
    except csv.Error as error:
        if "new-line character" in str(error):
            raise BadFile(
                _("%(file)s, line %(number)s: a line ends with a carriage return alone. Save it with LF or CRLF.")
                % {"file": path.name, "number": rows.line_num}
            ) from None
        raise BadFile(
            _("%(file)s, line %(number)s: not a sound table (%(reason)s).")
            % {"file": path.name, "number": rows.line_num, "reason": error}
        ) from None


def sheet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a spreadsheet by its first row; empty cells say nothing."""
    try:
        found = spreadsheets.rows(path, most_columns=MOST_COLUMNS)
        _place, first = next(found)
        if isinstance(first, BadRow):
            raise BadFile(f"{path.name}: {first}.")
        header = _names(first)
        _check_header(header, path)
        for place, cells in found:
            if isinstance(cells, list) and any(cell.strip() for cell in cells[len(header) :]):
                yield place, _too_many(cells, header)
            elif isinstance(cells, list):
                yield place, {name: cell for name, cell in zip(header, cells, strict=False) if cell and name}
            else:
                yield place, cells
    except spreadsheets.BadSheet as reason:
        raise BadFile(str(reason)) from None


def _names(header: list[str]) -> list[str]:
    while header and not header[-1].strip():
        header = header[:-1]
    return [name.strip() or (f"column {at}" if at > 1 else "") for at, name in enumerate(header, start=1)]


def _too_many(cells: list[str], header: list[str]) -> BadRow:
    return BadRow(_("%(cells)d cells under %(columns)d columns") % {"cells": len(cells), "columns": len(header)})


def _check_header(header: list[str], path: Path) -> None:
    named = [name for name in header if name]
    if len(header) > MOST_COLUMNS:
        raise BadFile(
            _("%(file)s has more than %(columns)s columns.") % {"file": path.name, "columns": f"{MOST_COLUMNS:,}"}
        )
    if not named:
        raise BadFile(_("The first line of %(file)s must name its columns.") % {"file": path.name})
    if len(set(named)) != len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise BadFile(
            _('The first line of %(file)s has the column "%(column)s" twice.')
            % {"file": path.name, "column": twice[:60]}
        )


def _text_lines(path: Path) -> Iterator[str]:
    with opened(path) as file:
        size = 0
        for number in range(1, 2**62):
            raw = file.readline(byte_streams.LONGEST_LINE + 1)
            if not raw:
                return
            size += len(raw)
            check_size(size, path)
            text = decoded(raw, first=number == 1)
            if isinstance(text, BadRow) or len(raw) > byte_streams.LONGEST_LINE:
                reason = str(text) if isinstance(text, BadRow) else _("it is too long")
                raise BadFile(f"{path.name}, line {number}: {reason}.")
            yield text
