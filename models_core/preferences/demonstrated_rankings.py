"""Demonstrations as rankings: a demonstration is preferred to a model's samples for the same prompt."""

from collections.abc import Collection, Sequence

from models_core.contract.rows.prompt_identity import digest
from models_core.contract.rows.records import Demonstration, PromptResponses, RankedResponse, Ranking
from models_core.preferences.comparisons import Comparison
from models_core.preferences.ranking_loss import Pair
from models_core.preferences.skipped_rows import SkippedRows


def demonstration_comparisons(
    demonstrations: Sequence[Demonstration],
    samples: Sequence[PromptResponses],
    *,
    weight: float,
    held_out: Collection[str],
    skipped: SkippedRows,
) -> list[Comparison]:
    """A comparison for each demonstration whose prompt has samples; the samples are not compared with each other.

    Prompts in `held_out` are omitted. A demonstration without samples is skipped and counted.
    """
    texts_of: dict[str, list[str]] = {}
    for row in samples:
        texts_of.setdefault(digest(row.messages), []).extend(row.texts)
    comparisons = []
    for demonstration in demonstrations:
        key = digest(demonstration.messages)
        if key in held_out:
            continue
        others = [text for text in dict.fromkeys(texts_of.get(key, [])) if text != demonstration.response]
        if not others:
            skipped.add("demonstrations_without_samples", demonstration.id)
            continue
        responses = (
            RankedResponse(text=demonstration.response, rank=1),
            *(RankedResponse(text=text, rank=2) for text in others),
        )
        ranking = Ranking(
            id=f"demonstration {demonstration.id}",
            messages=demonstration.messages,
            responses=responses,
            weight=weight,
            lang=demonstration.fields.get("lang"),
            source=demonstration.fields.get("source"),
        )
        comparisons.append(
            Comparison(
                messages=demonstration.messages,
                texts=tuple(response.text for response in responses),
                pairs=tuple(Pair(0, index, 1.0) for index in range(1, len(responses))),
                weight=weight,
                rows=(ranking,),
            )
        )
    return comparisons
