"""Files as a stream of JSON objects, table rows or lines, within limits of memory and time.

JSON lines, a JSON array, CSV, TSV, .xlsx, Parquet and Arrow streams. Whatever a file unfolds to, no more than one row
of it is in memory (of Arrow one batch), and a row has bounded bytes, values and depth.
"""

from collections.abc import Iterator
from pathlib import Path

from annotate.formats.files import spreadsheets
from annotate.formats.files.byte_streams import BadFile, first_character, lines, opened
from annotate.formats.files.columnar import arrow_rows, is_arrow, is_parquet, parquet_rows
from annotate.formats.files.json_objects import array_items, parsed_json
from annotate.formats.files.spreadsheets import is_workbook
from annotate.formats.files.tables import delimiter_of, sheet_rows, table_rows
from annotate.formats.rows import BadRow, Row

__all__ = [
    "BadFile",
    "delimiter_of",
    "first_character",
    "is_arrow",
    "is_packed",
    "is_parquet",
    "is_workbook",
    "lines",
    "objects",
    "opened",
    "parsed_json",
]


def objects(path: Path, *, name: str = "") -> Iterator[tuple[str, Row]]:
    """(place, row) of each line of JSON lines, each item of an array, each row of a table, of Parquet or of Arrow.

    name: the file's own where `path` is an upload's.
    """
    if is_parquet(path):
        yield from parquet_rows(path)
    elif is_arrow(path):
        yield from arrow_rows(path)
    elif spreadsheets.is_workbook(path):
        yield from sheet_rows(path)
    elif first_character(path) == "[":
        yield from array_items(path)
    elif delimiter := delimiter_of(path, name=name):
        yield from table_rows(path, delimiter)
    else:
        for place, line in lines(path):
            yield place, line if isinstance(line, BadRow) else parsed_json(line)


def is_packed(path: Path) -> bool:
    """Whether it is a zip, of which a workbook is one: nothing of it is read without unpacking."""
    with path.open("rb") as file:
        return file.read(4) == spreadsheets.ZIP_MAGIC
