"""UltraFeedback: completions of several models to an instruction, each rated by GPT-4 by several criteria.

The order is that of the mean rating, as the data set's own pairs are made; completions without any rating are unranked.
"""

from statistics import fmean
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    Fields,
    ImportedResponse,
    ImportedRow,
    by_model,
    check_ranked,
    checked_messages,
    user_turn,
)

NAME, LABEL = "ultrafeedback", gettext_noop("UltraFeedback")


def recognises(row: dict[str, Any]) -> bool:
    completions = row.get("completions")
    return isinstance(row.get("instruction"), str) and isinstance(completions, list) and "models" in row


def parse(row: Fields) -> ImportedRow:
    completions = row.objects("completions")
    check_ranked(len(completions))
    # Named again by each completion.
    row.ignore("models")
    judged = [(completion, _ratings(completion)) for completion in completions]
    means = sorted({round(fmean(ratings.values()), 6) for _completion, ratings in judged if ratings}, reverse=True)
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("instruction"))),
        id=row.label("prompt_id") or row.label("id"),
        source=f"UltraFeedback {row.label('source')}".strip(),
        judge="ai",
        judge_name="gpt-4",
        ranked=bool(means),
        responses=tuple(_response(completion, ratings, means) for completion, ratings in judged),
    )


def _response(completion: Fields, ratings: dict[str, float], means: list[float]) -> ImportedResponse:
    return ImportedResponse(
        text=completion.text("response"),
        rank=means.index(round(fmean(ratings.values()), 6)) + 1 if ratings else None,
        score=completion.number("overall_score") if means else None,
        ratings=ratings if means else {},
        note=completion.text("critique", longest=4_000) if means and "critique" in completion else "",
        **by_model(completion.label("model")),
    )


def _ratings(completion: Fields) -> dict[str, float]:
    given = completion.values.get("annotations")
    if not isinstance(given, dict):
        return {}
    annotations = completion.within("annotations", given)
    ratings = {}
    for name in list(annotations.values)[:50]:
        # Truthfulness and honesty may be lists of one in some of its versions.
        value = annotations.values[name]
        if isinstance(value, dict) and (rating := annotations.within(name, value).number("Rating")) is not None:
            ratings[name[:200]] = rating
    return ratings
