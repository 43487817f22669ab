"""CSV: a column for each field of the contract's rows, lists as JSON in their cells, for spreadsheets.

No cell is a formula: a text that looks like one begins with an apostrophe, which the import takes away again.
"""

import json
from collections.abc import Iterable
from gzip import GzipFile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from annotate.formats.exporters.export import RowExporter, RowWriter
from annotate.formats.exporters.parquet import schemas
from annotate.rendering.csv_tables import BYTE_ORDER_MARK, csv_line

# The Parquet schema has no column for what is rare.
RARE = ("adjudicated",)


class FlatTableWriter:
    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.file = path.open("w", encoding="utf-8", newline="")
        self.file.write(BYTE_ORDER_MARK + csv_line(columns))

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(csv_line([_cell(row.get(name)) for name in self.columns]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return value


class CSVExporter(RowExporter):
    name, label, suffix = "csv", "CSV", ".csv"
    description = "UTF-8 CSV with a header; chats and lists of responses are JSON in their cells."

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        return (row,)

    def open(self, path: Path, *, kind: str) -> RowWriter:
        names = tuple(schemas()[kind].names)
        return FlatTableWriter(path, (*names, *RARE) if kind == "rankings" else names)

    def join(self, parts: Iterable[Path], out: Path) -> None:
        """With the header of the first part alone."""
        with GzipFile(out, "wb", mtime=0) if out.suffix == ".gz" else out.open("wb") as file:
            for number, part in enumerate(parts):
                with part.open("rb") as rows:
                    if number:
                        rows.readline()
                    while block := rows.read(2**20):
                        file.write(block)
