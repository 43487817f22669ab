"""Plain text: each line that isn't blank is a prompt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats import files
from annotate.formats.rows import BadRow, ImportedRow, checked_messages, text_of

NAME, LABEL = "text", gettext_noop("Plain text, a prompt a line")
KEYS = frozenset({"text"})
SUFFIXES = ("", ".txt", ".text", ".md")


def recognises(row: dict[str, Any]) -> bool:
    return False


def read(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    for place, line in files.lines(path):
        yield place, line if isinstance(line, BadRow) else {"text": line}


def parse(row: dict[str, Any]) -> ImportedRow:
    return ImportedRow(messages=checked_messages([{"role": "user", "content": text_of(row["text"], "the line")}]))
