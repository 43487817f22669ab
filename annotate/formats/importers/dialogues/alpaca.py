"""Alpaca: instruction, input and output, each row a demonstration; without an output, a prompt.

LLaMA-Factory's rows of this shape have "chosen" and "rejected" in place of the output, which is a pair, or a "label" of
true or false beside it, which is a rating. Dolly's rows say "context" and "response" of the input and the output.

The author of the output is known where "generator" names a model. The data sets of this shape are mostly a model's
texts, so without a name nobody is claimed to have written them.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import BadRow, Fields, ImportedResponse, ImportedRow, checked_messages, text_of

NAME, LABEL = "alpaca", gettext_noop("Alpaca JSON")


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("instruction"), str) and "responses" not in row


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
    generator = row.label("generator")
    common: dict[str, Any] = {
        "messages": checked_messages([*turns, {"role": "user", "content": instruction_of(row)}]),
        "id": row.label("id"),
        "language": row.label("lang", longest=10),
        "source": row.label("source") or row.label("dataset") or "Alpaca",
    }
    if "chosen" in row or "rejected" in row:
        pair = (ImportedResponse(text=row.text(key), rank=rank) for rank, key in ((1, "chosen"), (2, "rejected")))
        return ImportedRow(**common, responses=tuple(pair), ranked=True)
    key = "output" if row.values.get("output") is not None else "response"
    output = row.text(key) if row.values.get(key) is not None else None
    if output is not None and not output.strip():
        raise BadRow(_('"%(key)s" is empty') % {"key": key})
    kind = "model" if generator else "unknown"
    label = row.flag("label") if "label" in row and output is not None else None
    if label is not None and output is not None:
        ratings = {"label": 1.0 if label else 0.0}
        response = ImportedResponse(text=output, ratings=ratings, model=generator, author_kind=kind)
        return ImportedRow(**common, responses=(response,), rated=True)
    return ImportedRow(**common, demonstration=output, author=generator, author_kind=kind)


def instruction_of(row: Fields) -> str:
    """The instruction, with its input after a blank line where it has one."""
    instruction = row.text("instruction")
    key = "input" if "input" in row else "context"
    given = row.text(key) if key in row else ""
    return f"{instruction}\n\n{given}" if given.strip() else instruction
