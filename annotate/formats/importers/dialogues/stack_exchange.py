"""Stack Exchange paired: a question with two responses of people, the first voted higher."""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, checked_messages, user_turn

NAME, LABEL = "stack_exchange", gettext_noop("Stack Exchange pairs")
SOURCE = "Stack Exchange"


def recognises(row: dict[str, Any]) -> bool:
    return {"question", "response_j", "response_k"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    responses = tuple(
        ImportedResponse(text=row.text(key), rank=rank, model=SOURCE, author_kind="person")
        for rank, key in ((1, "response_j"), (2, "response_k"))
    )
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("question"))),
        id=row.label("qid"),
        source=SOURCE,
        responses=responses,
        ranked=True,
    )
