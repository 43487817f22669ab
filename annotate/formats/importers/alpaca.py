"""Alpaca: instruction, input and output, each row a demonstration; without an output, a prompt.

The author of the output is known where "generator" names a model. The data sets of this shape are mostly a model's
texts, so without a name nobody is claimed to have written them.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import BadRow, Fields, ImportedRow, checked_messages, text_of

NAME, LABEL = "alpaca", gettext_noop("Alpaca JSON")


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("instruction"), str) and "responses" not in row and "chosen" not in row


def parse(row: Fields) -> ImportedRow:
    """The input follows the instruction after a blank line; `history` [[question, answer]] and `system` come before."""
    turns = []
    if "system" in row:
        turns.append({"role": "system", "content": row.text("system")})
    history = row.raw("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise BadRow(_('"history" must be pairs of question and answer'))
    for exchange in history:
        for role, text in zip(("user", "assistant"), exchange, strict=True):
            turns.append({"role": role, "content": text_of(text, '"history"')})
    output = row.text("output") if row.values.get("output") is not None else None
    if output is not None and not output.strip():
        raise BadRow(_('"output" is empty'))
    generator = row.label("generator")
    return ImportedRow(
        messages=checked_messages([*turns, {"role": "user", "content": instruction_of(row)}]),
        id=row.label("id"),
        language=row.label("lang", longest=10),
        source=row.label("source") or row.label("dataset") or "Alpaca",
        demonstration=output,
        author=generator,
        author_kind="model" if generator else "unknown",
    )


def instruction_of(row: Fields) -> str:
    """The instruction, with its input after a blank line where it has one."""
    instruction = row.text("instruction")
    given = row.text("input") if "input" in row else ""
    return f"{instruction}\n\n{given}" if given.strip() else instruction
