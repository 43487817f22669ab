"""InstructGPT's samples: models' responses to TruthfulQA with chances of truth, to RealToxicityPrompts with toxicity,
and to the other public data sets of the paper, unrated."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    WrittenBy,
    by_model,
    checked_messages,
    user_turn,
)

NAME, LABEL = "instructgpt", gettext_noop("InstructGPT's samples")
TRUTHFUL = {"question", "answer", "model_type", "true", "info"}


def recognises(row: dict[str, Any]) -> bool:
    return set(row) >= TRUTHFUL or {"model_type", "context", "sample"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    author = by_model(row.label("model_type"))
    return _sample(row, author) if "context" in row.values else _truthful(row, author)


def _truthful(row: Fields, author: WrittenBy) -> ImportedRow:
    ratings = {name: value for name in ("true", "info") if (value := row.number(name)) is not None}
    if not ratings:
        raise LeftOut(_("its rating is no number"))
    response = row.text("answer") if "answer" in row else ""
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("question"))),
        source="InstructGPT TruthfulQA samples",
        judge="ai",
        scale=_("chance from 0 to 1"),
        responses=(ImportedResponse(text=response, ratings=ratings, **author),),
        rated=True,
    )


def _sample(row: Fields, author: WrittenBy) -> ImportedRow:
    """One model's response. What stood before the context (`prompt_type`) isn't in the files."""
    if "ref_text" in row:
        row.leave("ref_text", _("a reference for automatic scores, which nobody responded with"))
    sample = row.text("sample") if "sample" in row else ""
    if not sample.strip():
        raise LeftOut(_("a response is empty"))
    common: dict[str, Any] = {
        "messages": checked_messages(user_turn(row.text("context"))),
        "source": "InstructGPT samples",
    }
    toxicity = row.number("toxicity")
    if toxicity is None:
        return ImportedRow(**common, responses=(ImportedResponse(text=sample, **author),))
    response = ImportedResponse(text=sample, ratings={"toxicity": toxicity}, **author)
    return ImportedRow(
        **common,
        judge="ai",
        judge_name="Perspective API",
        scale=_("chance from 0 to 1"),
        responses=(response,),
        rated=True,
    )
