"""MT-Bench's questions: the first turn of each is a prompt; the second needs a response to the first before it."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import BadRow, Fields, ImportedRow, LeftOut, checked_messages, text_of, user_turn

NAME, LABEL = "mt_bench", gettext_noop("MT-Bench questions")


def recognises(row: dict[str, Any]) -> bool:
    return "question_id" in row and (isinstance(row.get("turns"), list) or isinstance(row.get("choices"), list))


def parse(row: Fields) -> ImportedRow:
    if "choices" in row.values:
        raise LeftOut(_("a model's responses without their question"))
    turns = row.raw("turns")
    if not isinstance(turns, list) or not turns:
        raise BadRow(_('"turns" must be a list of texts'))
    if turns[1:]:
        row.leave("turns", _("a later turn, which needs a response to the one before"))
    return ImportedRow(
        messages=checked_messages(user_turn(text_of(turns[0], '"turns"'))),
        id=row.label("question_id"),
        source="MT-Bench",
    )
