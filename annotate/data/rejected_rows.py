"""Rows of an import that were not taken, kept for a week so that whoever imported the file can look at them.

A file of JSON lines, {"place", "reason", "row"}, in HONE_DATA/rejected/<project>/ under a name of its own; it is made
with the first row.
"""

import json
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from django.conf import settings

from annotate.models import Project

FOLDER = "rejected"
KEPT_FOR = timedelta(days=7)
NAME = re.compile(r"[0-9a-f]{32}\.jsonl", re.ASCII)
LARGEST = 256 * 2**20
"""Bytes of rows in a file; further ones are named without their content."""


class RejectedRows:
    """Writes the rows of one import that aren't taken."""

    def __init__(self, project: Project) -> None:
        self._folder = _folder(project)
        self._file: IO[str] | None = None
        self._written = 0
        self.name = ""
        self.rows = 0

    def add(self, place: str, reason: str, row: Any) -> None:
        """row: what the file held there, if it could be read."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.name = f"{secrets.token_hex(16)}.jsonl"
            self._file = (self._folder / self.name).open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
        said = {"place": place, "reason": reason}
        line = json.dumps(said | ({} if row is None else {"row": row}), ensure_ascii=False, default=str)
        if self._written + len(line) > LARGEST:
            line = json.dumps(said, ensure_ascii=False)
        self._written += self._file.write(line + "\n")
        self.rows += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            if error is not None:
                (self._folder / self.name).unlink(missing_ok=True)


def path_of(project: Project, name: str) -> Path | None:
    """The file of this name, if the project has it."""
    path = _folder(project) / name
    return path if NAME.fullmatch(name) and path.is_file() else None


def remove_old(*, now: datetime) -> int:
    """Take away files of more than a week ago; returns how many there were."""
    oldest = (now - KEPT_FOR).timestamp()
    old = [path for path in (Path(settings.HONE_DATA) / FOLDER).glob("*/*.jsonl") if path.stat().st_mtime < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _folder(project: Project) -> Path:
    return Path(settings.HONE_DATA) / FOLDER / str(project.pk)
