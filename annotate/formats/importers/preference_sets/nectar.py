"""Berkeley's Nectar: up to seven responses of several models to a prompt, ordered by GPT-4."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.importers.dialogues import hh
from annotate.formats.rows import (
    LONGEST_LABEL,
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    checked_messages,
    text_of,
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
    if not 1 < len(responses) <= MOST_RESPONSES:
        raise BadRow(_("a ranking needs 2 to %(most)d responses") % {"most": MOST_RESPONSES})
    # Both follow from the lists.
    row.ignore("turns", "num_responses")
    places = [response.number("rank", low=1, strict=True) for response in responses]
    known = sorted({place for place in places if place is not None})
    return ImportedRow(
        messages=checked_messages(turns),
        source=" ".join(["Nectar", *_sources(row)])[:LONGEST_LABEL],
        judge="ai",
        judge_name="gpt-4",
        ranked=bool(known),
        responses=tuple(
            ImportedResponse(
                text=response.text("answer"),
                model=(model := response.label("model")),
                author_kind="model" if model else "unknown",
                rank=None if place is None else known.index(place) + 1,
            )
            for response, place in zip(responses, places, strict=True)
        ),
    )


def _sources(row: Fields) -> list[str]:
    """Where the prompt is from: a list of names."""
    found = row.raw("source")
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadRow(_("%(name)s must be a list of texts") % {"name": row.named("source")})
    return [text_of(name, row.named("source")) for name in found]
