"""A file of rows that grows in their order, and appears under its name once it is whole.

Until then its lines are in OUT.partial, after a first one that says what was asked for. A command that was interrupted
goes on from there with --resume, where it was asked for the same. OUT "-" is standard output, which has no partial.
"""

import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models_core.commands.output import partial_output
from models_core.contract import atomic_write
from models_core.contract.errors import BadInput

STANDARD_OUTPUT = Path("-")


class ResumableWriter:
    """`request` says what is asked for, as JSON. Raises BadInput.

    `kept` rows are there already, of an interrupted command: whole windows of `window` rows, since rows are computed by
    the window. At a mistake nothing is left behind, unless it `is_unique`: made of rows that cannot be read again. What
    was written before a stop stays.
    """

    def __init__(self, out: Path, *, request: dict[str, Any], window: int, resume: bool, is_unique: bool) -> None:
        self.out = out
        self.is_unique = is_unique
        self.partial = partial_output.beside(out)
        self.kept: list[dict[str, Any]] = []
        self.rows = 0
        if out == STANDARD_OUTPUT:
            self._file = sys.stdout
            return
        if resume:
            rows = partial_output.entries(self.partial, request=request)
            self.kept = rows[: len(rows) // window * window]
        self._file = partial_output.begin(self.partial, request=request)
        self.add(self.kept)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write rows, so that whoever reads along sees them."""
        for row in rows:
            self._file.write(partial_output.line(row))
        self._file.flush()
        self.rows += len(rows)

    def finish(self) -> None:
        """Give the file its name. The first line, what was asked for, goes."""
        if self.out == STANDARD_OUTPUT:
            return
        self._file.close()
        with self.partial.open("rb") as written, atomic_write.replacing(self.out) as file:
            written.readline()
            shutil.copyfileobj(written, file)
        self.partial.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.out == STANDARD_OUTPUT:
            return
        self._file.close()
        if not self.rows or (isinstance(error, BadInput) and not self.is_unique):
            self.partial.unlink(missing_ok=True)
