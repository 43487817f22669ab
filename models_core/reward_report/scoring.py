"""Judgments with a reward model's logits: of responses that training has scored already, or by a saved model."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from models_core import language_models
from models_core.preferences.examples import Example
from models_core.records import Ranking
from models_core.reward_report.judged import Judged, comparison
from models_core.scoring import encode_group, group_logits


class Scored(NamedTuple):
    """Judgments, and the shift and scale of the scores of the model that they carry the logits of."""

    judgments: list[Judged]
    shift: float
    scale: float


def of_examples(examples: Sequence[Example], logits: Sequence[Sequence[float]]) -> list[Judged]:
    """Every ranking that examples were made from, with the logits of its responses: [examples][responses]."""
    return [
        Judged(
            ranking=ranking,
            logits=tuple(None if place is None else scored[place] for place in places),
            lengths=tuple(0 if place is None else len(example.group.responses[place]) for place in places),
        )
        for example, scored in zip(examples, logits, strict=True)
        for verdict in example.verdicts
        for ranking, places in zip(verdict.rows, verdict.places, strict=True)
    ]


def by_model(
    name: str,
    rankings: Sequence[Ranking],
    *,
    device: torch.device,
    dtype: torch.dtype,
    max_length: int,
    budget: int,
) -> Scored:
    """Rankings as a saved reward model scores them; the responses that several people ranked are scored once."""
    tokenizer = language_models.load_tokenizer(name)
    model = language_models.load_reward_model(name, device=device, dtype=dtype)
    max_length = min(max_length, language_models.context_length(model))
    first = {comparison(ranking): ranking for ranking in reversed(rankings)}
    encoded = [
        encode_group(tokenizer, ranking.messages, [item.text for item in ranking.responses], max_length=max_length)
        for ranking in first.values()
    ]
    logits = group_logits(model, [item.group for item in encoded], budget=budget, device=device)
    found: dict[object, dict[str, tuple[float, int]]] = {}
    for key, ranking, item, own in zip(first, first.values(), encoded, logits, strict=True):
        read = [response.text for response, fits in zip(ranking.responses, item.fits, strict=True) if fits]
        found[key] = {
            text: (logit, len(tokens)) for text, logit, tokens in zip(read, own, item.group.responses, strict=True)
        }
    shift, scale = language_models.reward_scale(model)
    return Scored([_judged(ranking, found[comparison(ranking)]) for ranking in rankings], shift, scale)


def _judged(ranking: Ranking, known: dict[str, tuple[float, int]]) -> Judged:
    told = [known.get(response.text, (None, 0)) for response in ranking.responses]
    return Judged(
        ranking=ranking, logits=tuple(logit for logit, _ in told), lengths=tuple(length for _, length in told)
    )
