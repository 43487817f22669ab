"""The rows of an .xlsx file: of its one sheet that holds any, by the names in its first row, as a CSV file has them.

openpyxl reads the sheet row by row. A workbook is a zip of XML, whose parts say how large they are: what would fill the
memory is refused before anything is unpacked. Dates are written as ISO 8601, truth values as `true` and `false`, and
whole numbers without a point. A formula is no value, and its row is refused by name.
"""

import datetime
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats.rows import BadRow

ZIP_MAGIC, OLE_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
WORKBOOK, TEXTS = "xl/workbook.xml", "xl/sharedStrings.xml"
MOST_PARTS = 2_000
LARGEST_SHEET = 256 * 2**20
LARGEST_TEXTS = 128 * 2**20
"""Bytes of the table of texts, which is read into memory as a whole."""
COLUMNS_LOOKED_AT = 100
"""Of a sheet, to see whether it is empty."""
MOST_ROWS = 1_048_576
"""Of a sheet, by the format. What numbers its rows higher was not written by a spreadsheet."""


class BadSheet(Exception):
    """Why the workbook can't be read, as a sentence that begins with the file's name."""


def is_workbook(path: Path) -> bool:
    """Whether it is a zip with a workbook in it, or was encrypted or written by an old spreadsheet."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == OLE_MAGIC:
        return True
    if start != ZIP_MAGIC:
        return False
    try:
        with zipfile.ZipFile(path) as packed:
            return WORKBOOK in packed.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return True  # which `rows` says of it


def rows(path: Path, *, most_columns: int) -> Iterator[tuple[str, list[str] | BadRow]]:
    """(place, cells as texts) of each row with something in it, the first with the names. Raises BadSheet."""
    # Not on every request of the web process: it takes a tenth of a second.
    from openpyxl import load_workbook

    _check_parts(path)
    # By the open file: an upload has no name by which openpyxl would take it.
    file = path.open("rb")
    try:
        book = load_workbook(file, read_only=True, keep_links=False)
        try:
            sheet = _only_sheet(path, book.worksheets)
            # What a sheet says of its own size may be wrong.
            sheet.reset_dimensions()
            for number, cells in enumerate(sheet.iter_rows(), start=1):
                if number > MOST_ROWS or len(cells) > most_columns:
                    raise BadSheet(
                        _("%(file)s has more than %(rows)s rows or %(columns)s columns.")
                        % {"file": path.name, "rows": f"{MOST_ROWS:,}", "columns": f"{most_columns:,}"}
                    )
                if any(cell.value is not None for cell in cells):
                    yield _("row %(number)d") % {"number": number}, _texts(cells)
        finally:
            book.close()
    except _BROKEN:
        raise BadSheet(_("%(file)s is a broken .xlsx file.") % {"file": path.name}) from None
    finally:
        file.close()


def _check_parts(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) == OLE_MAGIC:
            raise BadSheet(
                _("%(file)s is protected by a password, or an old .xls file: save it as .xlsx without one, or as CSV.")
                % {"file": path.name}
            )
    try:
        with zipfile.ZipFile(path) as packed:
            parts = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError):
        raise BadSheet(_("%(file)s is a broken .xlsx file.") % {"file": path.name}) from None
    # A part is never read beyond the size that it states here.
    texts = sum(part.file_size for part in parts if part.filename == TEXTS)
    others = sum(part.file_size for part in parts if part.filename != TEXTS)
    if len(parts) > MOST_PARTS or texts > LARGEST_TEXTS or others > LARGEST_SHEET:
        raise BadSheet(
            _("%(file)s unfolds to more than %(size)d MB: save the sheet as CSV, and import that.")
            % {"file": path.name, "size": LARGEST_SHEET // 2**20}
        )


def _only_sheet(path: Path, sheets: Iterable[Any]) -> Any:
    """The sheet that holds rows. Raises BadSheet where several do: which one was meant, nobody knows."""
    filled = [sheet for sheet in sheets if _has_rows(sheet)]
    if len(filled) > 1:
        names = ", ".join(f"“{sheet.title[:40]}”" for sheet in filled[:8])
        raise BadSheet(
            _("%(file)s has rows in several sheets (%(names)s): keep one of them, or save each as a file of its own.")
            % {"file": path.name, "names": names}
        )
    if not filled:
        raise BadSheet(_("%(file)s holds no rows.") % {"file": path.name})
    return filled[0]


def _has_rows(sheet: Any) -> bool:
    sheet.reset_dimensions()
    some = sheet.iter_rows(max_row=MOST_ROWS, max_col=COLUMNS_LOOKED_AT)
    return any(cell.value is not None for cells in some for cell in cells)


def _texts(cells: Iterable[Any]) -> list[str] | BadRow:
    found = []
    for cell in cells:
        if cell.value is None:
            found.append("")
        elif cell.data_type == "f":
            return BadRow(_("the cell %(cell)s is a formula: paste its value") % {"cell": cell.coordinate})
        elif cell.data_type == "e":
            values = {"cell": cell.coordinate, "error": str(cell.value)[:20]}
            return BadRow(_("the cell %(cell)s holds an error of the spreadsheet (%(error)s)") % values)
        else:
            found.append(_text(cell.value))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    return str(value)


# What openpyxl and the zip and XML readers beneath it raise on what is no workbook.
_BROKEN = (
    zipfile.BadZipFile,
    OSError,
    SyntaxError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    EOFError,
)
