"""Demonstrations above samples: what a person wrote, as a ranking over a model's own answers to the same prompt."""

from collections.abc import Collection, Sequence

from models_core.contract.records import Answers, Demonstration, RankedResponse, Ranking
from models_core.preferences.comparisons import Verdict
from models_core.preferences.contradictions import PromptKey, prompt_key
from models_core.preferences.skipped_rows import LeftOut
from models_core.rl.losses import Pair


def above_samples(
    demonstrations: Sequence[Demonstration],
    samples: Sequence[Answers],
    *,
    weight: float,
    held_out: Collection[PromptKey],
    left_out: LeftOut,
) -> list[Verdict]:
    """A verdict for each demonstration whose prompt has samples: it is better than each of them, they aren't compared.

    Prompts that are measured on are left alone. A demonstration without a sample is left out and counted.
    """
    texts_of: dict[PromptKey, list[str]] = {}
    for row in samples:
        texts_of.setdefault(prompt_key(row.messages), []).extend(row.texts)
    made = []
    for demonstration in demonstrations:
        key = prompt_key(demonstration.messages)
        if key in held_out:
            continue
        others = [text for text in dict.fromkeys(texts_of.get(key, [])) if text != demonstration.response]
        if not others:
            left_out.add("demonstrations_without_samples", demonstration.id)
            continue
        responses = (
            RankedResponse(text=demonstration.response, rank=1),
            *(RankedResponse(text=text, rank=2) for text in others),
        )
        as_ranking = Ranking(
            id=f"demonstration {demonstration.id}",
            messages=demonstration.messages,
            responses=responses,
            weight=weight,
            lang=demonstration.fields.get("lang"),
            source=demonstration.fields.get("source"),
        )
        made.append(
            Verdict(
                messages=demonstration.messages,
                texts=tuple(response.text for response in responses),
                pairs=tuple(Pair(0, place, 1.0) for place in range(1, len(responses))),
                weight=weight,
                rows=(as_ranking,),
            )
        )
    return made
