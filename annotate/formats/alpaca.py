"""Alpaca: a JSON array (or JSON lines) of instruction, input and output, each row a demonstration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats import files
from annotate.formats.rows import BadRow, ImportedRow, checked_messages, short_text, text_of

NAME, LABEL = "alpaca", gettext_noop("Alpaca JSON")
KEYS = frozenset(["instruction", "input", "output", "history", "system", "id", "lang", "source", "generator"])


def recognises(row: dict[str, Any]) -> bool:
    return "instruction" in row and "output" in row


def read(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    return files.objects(path)


def parse(row: dict[str, Any]) -> ImportedRow:
    """The input follows the instruction after a blank line; `history` [[asked, answered]] and `system` come before."""
    turns = []
    if system := row.get("system"):
        turns.append({"role": "system", "content": text_of(system, '"system"')})
    for exchange in row.get("history") or []:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise BadRow(_('"history" must be pairs of question and answer'))
        for role, said in zip(("user", "assistant"), exchange, strict=True):
            turns.append({"role": role, "content": text_of(said, '"history"')})
    instruction = text_of(row.get("instruction"), '"instruction"')
    given = text_of(row.get("input") or "", '"input"')
    turns.append({"role": "user", "content": f"{instruction}\n\n{given}" if given.strip() else instruction})
    output = text_of(row.get("output"), '"output"')
    if not output.strip():
        raise BadRow(_('"output" is empty'))
    return ImportedRow(
        messages=checked_messages(turns),
        id=short_text(row, "id"),
        language=short_text(row, "lang", longest=10),
        source=short_text(row, "source") or "Alpaca",
        demonstration=output,
        author=short_text(row, "generator"),
    )
