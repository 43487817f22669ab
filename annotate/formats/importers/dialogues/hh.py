"""Anthropic's HH files: two whole dialogues a row, "\\n\\nHuman: ...\\n\\nAssistant: ...", one chosen, one rejected.

The turns that both share are the prompt, the assistant's last turns the two responses.
"""

import re
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import BadRow, Fields, ImportedResponse, ImportedRow, LeftOut, checked_messages

NAME, LABEL = "hh", gettext_noop("Anthropic HH dialogues")
TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def recognises(row: dict[str, Any]) -> bool:
    return all(isinstance(row.get(key), str) and TURN.match(row[key]) for key in ("chosen", "rejected"))


def parse(row: Fields) -> ImportedRow:
    chosen, rejected = (_answered(row.text(key), key) for key in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise LeftOut(_("the two dialogues part before their last responses"))
    if chosen[-1] == rejected[-1]:
        raise LeftOut(_("the two dialogues are the same"))
    responses = tuple(
        ImportedResponse(text=dialogue[-1]["content"], rank=rank)
        for rank, dialogue in enumerate((chosen, rejected), start=1)
    )
    return ImportedRow(
        messages=checked_messages(chosen[:-1]), source="Anthropic HH", language="en", responses=responses, ranked=True
    )


def turns(dialogue: str, key: str) -> list[dict[str, str]]:
    """What Human and Assistant say by turns. Raises BadRow for a text that begins otherwise."""
    before, *parts = TURN.split(dialogue)
    if before.strip() or not parts:
        raise BadRow(_('"%(key)s" must begin with "\\n\\nHuman:"') % {"key": key})
    return [
        {"role": ROLES[speaker], "content": text.strip()} for speaker, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _answered(dialogue: str, key: str) -> list[dict[str, str]]:
    found = turns(dialogue, key)
    if found[-1]["role"] != "assistant" or len(found) < 2:
        raise BadRow(_('"%(key)s" must end with a response of the assistant') % {"key": key})
    return found
