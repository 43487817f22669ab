"""InstructGPT's TruthfulQA samples: a model's response to a question, and how likely it is true and informative."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, LeftOut, checked_messages, user_turn

NAME, LABEL = "truthful_qa", gettext_noop("InstructGPT's TruthfulQA samples")


def recognises(row: dict[str, Any]) -> bool:
    return {"question", "answer", "model_type", "true", "info"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    ratings = {
        name: value for key, name in (("true", "true"), ("info", "info")) if (value := row.number(key)) is not None
    }
    if not ratings:
        raise LeftOut(_("its rating is no number"))
    model = row.label("model_type")
    response = row.text("answer") if "answer" in row else ""
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("question"))),
        source="InstructGPT TruthfulQA samples",
        judge="ai",
        scale=_("chance from 0 to 1"),
        responses=(
            ImportedResponse(text=response, ratings=ratings, model=model, author_kind="model" if model else "unknown"),
        ),
        rated=True,
    )
