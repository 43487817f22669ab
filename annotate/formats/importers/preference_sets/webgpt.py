"""OpenAI's WebGPT comparisons: a question with two answers from the web, each scored by a person (-1 to 1)."""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, checked_messages, user_turn

NAME, LABEL = "webgpt", gettext_noop("WebGPT comparisons")


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("question"), dict) and {"answer_0", "answer_1", "score_0", "score_1"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    """The two scores have the sum 0; equal ones are a tie."""
    question = row.object("question")
    scores = [row.number(f"score_{place}", strict=True) or 0.0 for place in (0, 1)]
    # The same texts as tokens of GPT-3.
    row.ignore("tokens_0", "tokens_1")
    dataset = question.label("dataset")
    return ImportedRow(
        messages=checked_messages(user_turn(question.text("full_text"))),
        id=question.label("id"),
        source=f"WebGPT {dataset}".strip(),
        ranked=True,
        scale="-1 to 1",
        responses=tuple(
            ImportedResponse(
                text=row.text(f"answer_{place}"),
                author_kind="model",
                model="webgpt",
                rank=1 if score == max(scores) else 2,
                score=score,
            )
            for place, score in enumerate(scores)
        ),
    )
