"""Open-Instruct's human evaluation: two completions of a prompt, a five-point preference, and who gave it."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import prompt_of
from annotate.formats.rows import BadRow, Fields, ImportedResponse, ImportedRow, by_model

NAME, LABEL = "open_instruct", gettext_noop("Open-Instruct human evaluation")
# (rank of a, rank of b, margin)
PREFERENCES = {
    "a-is-better": (1, 2, 2),
    "a-is-slightly-better": (1, 2, 1),
    "tie": (1, 1, 0),
    "b-is-slightly-better": (2, 1, 1),
    "b-is-better": (2, 1, 2),
}


def recognises(row: dict[str, Any]) -> bool:
    return {"prompt", "completion_a", "completion_b", "preference"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    preference = row.label("preference")
    if preference not in PREFERENCES:
        raise BadRow(_('"preference" must be one of %(words)s') % {"words": ", ".join(PREFERENCES)})
    *ranks, margin = PREFERENCES[preference]
    responses = []
    for letter, rank in zip("ab", ranks, strict=True):
        responses.append(
            ImportedResponse(
                text=row.text(f"completion_{letter}"),
                rank=rank,
                acceptable=row.flag(f"completion_{letter}_is_acceptable") is not False,
                **by_model(row.label(f"model_{letter}")),
            )
        )
    return ImportedRow(
        messages=prompt_of(row),
        id=row.label("id"),
        task=row.label("instance_id"),
        source="Open-Instruct human evaluation",
        labeler=row.label("evaluator"),
        timestamp=row.label("timestamp"),
        comment=row.text("comment", longest=20_000) if "comment" in row else "",
        responses=tuple(responses),
        ranked=True,
        margin=margin,
    )
