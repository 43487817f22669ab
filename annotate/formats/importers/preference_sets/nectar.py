"""Berkeley's Nectar: up to seven responses of several models to a prompt, ordered by GPT-4."""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.importers.dialogues import hh
from annotate.formats.rows import (
    LONGEST_LABEL,
    Fields,
    ImportedResponse,
    ImportedRow,
    by_model,
    check_ranked,
    checked_messages,
)

NAME, LABEL = "nectar", gettext_noop("Nectar")


def recognises(row: dict[str, Any]) -> bool:
    prompt, responses = row.get("prompt"), row.get("answers")
    return isinstance(prompt, str) and hh.TURN.match(prompt) is not None and isinstance(responses, list)


def parse(row: Fields) -> ImportedRow:
    """Prompts are dialogues as those of HH, which end with the mark of the turn that awaits a response."""
    turns = hh.turns(row.text("prompt"), "prompt")
    if turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()
    responses = row.objects("answers")
    check_ranked(len(responses))
    # Both follow from the lists.
    row.ignore("turns", "num_responses")
    places = [response.number("rank", low=1, strict=True) for response in responses]
    known = sorted({place for place in places if place is not None})
    sources = row.texts("source") if row.values.get("source") is not None else []
    return ImportedRow(
        messages=checked_messages(turns),
        source=" ".join(["Nectar", *sources])[:LONGEST_LABEL],
        judge="ai",
        judge_name="gpt-4",
        ranked=bool(known),
        responses=tuple(
            ImportedResponse(
                text=response.text("answer"),
                rank=None if place is None else known.index(place) + 1,
                **by_model(response.label("model")),
            )
            for response, place in zip(responses, places, strict=True)
        ),
    )
