"""Plain text: each line that isn't blank is a prompt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats import files
from annotate.formats.rows import BadRow, Fields, ImportedRow, checked_messages, user_turn

NAME, LABEL = "text", gettext_noop("Plain text, a prompt a line")
SUFFIXES = ("", ".txt", ".text", ".md")


def recognises(row: dict[str, Any]) -> bool:
    return False


def read(path: Path, *, name: str = "") -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    for place, line in files.lines(path):
        yield place, line if isinstance(line, BadRow) else {"text": line}


def parse(row: Fields) -> ImportedRow:
    return ImportedRow(messages=checked_messages(user_turn(row.text("text", name="the line"))))
