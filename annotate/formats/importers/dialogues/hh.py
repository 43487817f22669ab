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
    chosen, rejected = (_turns(row.text(key), key) for key in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise LeftOut(_("the two dialogues part before their last responses"))
    if chosen[-1] == rejected[-1]:
        raise LeftOut(_("the two dialogues are the same"))
    responses = tuple(
        ImportedResponse(text=turns[-1]["content"], rank=rank) for rank, turns in enumerate((chosen, rejected), start=1)
    )
    return ImportedRow(
        messages=checked_messages(chosen[:-1]), source="Anthropic HH", language="en", responses=responses, ranked=True
    )


def _turns(dialogue: str, key: str) -> list[dict[str, str]]:
    before, *parts = TURN.split(dialogue)
    if before.strip() or not parts:
        raise BadRow(_('"%(key)s" must begin with "\\n\\nHuman:"') % {"key": key})
    turns = [
        {"role": ROLES[speaker], "content": text.strip()} for speaker, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    if turns[-1]["role"] != "assistant" or len(turns) < 2:
        raise BadRow(_('"%(key)s" must end with a response of the assistant') % {"key": key})
    return turns
