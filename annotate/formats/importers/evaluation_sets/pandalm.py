"""PandaLM's test set: an instruction, two responses, and the choices of three annotators (0 a tie, 1, 2)."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.importers.dialogues.alpaca import instruction_of
from annotate.formats.rows import (
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    WrittenBy,
    checked_messages,
    user_turn,
)

NAME, LABEL = "pandalm", gettext_noop("PandaLM test set")
ANNOTATORS = ("annotator1", "annotator2", "annotator3")
RANKS = {0: (1, 1), 1: (1, 2), 2: (2, 1)}


def recognises(row: dict[str, Any]) -> bool:
    return {"instruction", "response1", "response2", "annotator1"} <= set(row)


def parse(row: Fields) -> list[ImportedRow]:
    """A judgment an annotator. `cmp_key` names the two models, the first response's first."""
    messages = checked_messages(user_turn(instruction_of(row)))
    models = row.label("cmp_key").split("_")
    names: list[WrittenBy] = [{}, {}]
    if len(models) == 2:
        names = [{"model": name, "author_kind": "model"} for name in models]
    elif "cmp_key" in row:
        row.leave("cmp_key", _("not two names of models"))
    texts = [row.text(key) for key in ("response1", "response2")]
    number = row.label("idx")
    judged = []
    for annotator in ANNOTATORS:
        choice = row.number(annotator)
        if choice is None:
            continue
        if choice not in RANKS:
            raise BadRow(_("%(name)s must be 0, 1 or 2") % {"name": row.named(annotator)})
        responses = tuple(
            ImportedResponse(text=text, rank=rank, **name)
            for text, rank, name in zip(texts, RANKS[int(choice)], names, strict=True)
        )
        judged.append(
            ImportedRow(
                messages=messages,
                id=number,
                task=number or "pandalm",
                source="PandaLM",
                labeler=annotator,
                responses=responses,
                ranked=True,
            )
        )
    if not judged:
        raise BadRow(_("no annotator chose"))
    return judged
