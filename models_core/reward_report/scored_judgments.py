"""Judgments with a reward model's logits: of responses that training has scored already, or by a saved model."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch

from models_core.contract.records import Ranking
from models_core.modeling import loading
from models_core.modeling.forward import encode_group, group_head_logits
from models_core.preferences.encoding import Example
from models_core.reward_report.heldout_judgments import Judged, comparison


class Scored(NamedTuple):
    """Judgments, and the shift and scale of the scores of the model that they carry the logits of."""

    judgments: list[Judged]
    shift: float
    scale: float


def of_examples(examples: Sequence[Example], logits: Sequence[torch.Tensor]) -> list[Judged]:
    """Every ranking that examples were made from, with its responses' logits by head: [responses, m] an example."""
    return [
        _placed(ranking, places, example, logits=by_head)
        for example, by_head in zip(examples, logits, strict=True)
        for verdict in example.verdicts
        for ranking, places in zip(verdict.rows, verdict.places, strict=True)
    ]


def _placed(ranking: Ranking, places: Sequence[int | None], example: Example, *, logits: torch.Tensor) -> Judged:
    means, by_head = logits.mean(-1).tolist(), logits.tolist()
    has_heads = logits.shape[-1] > 1
    return Judged(
        ranking=ranking,
        logits=tuple(None if place is None else means[place] for place in places),
        lengths=tuple(0 if place is None else len(example.group.responses[place]) for place in places),
        heads=tuple(() if place is None else tuple(by_head[place]) for place in places) if has_heads else (),
    )


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
    tokenizer = loading.load_tokenizer(name)
    model = loading.load_reward_model(name, device=device, dtype=dtype)
    max_length = min(max_length, loading.context_length(model))
    first = {comparison(ranking): ranking for ranking in reversed(rankings)}
    encoded = [
        encode_group(tokenizer, ranking.messages, [item.text for item in ranking.responses], max_length=max_length)
        for ranking in first.values()
    ]
    logits = group_head_logits(model, [item.group for item in encoded], budget=budget, device=device)
    read: dict[object, dict[str, _Read]] = {}
    for key, ranking, item, own in zip(first, first.values(), encoded, logits, strict=True):
        texts = [response.text for response, fits in zip(ranking.responses, item.fits, strict=True) if fits]
        lengths = map(len, item.group.responses)
        read[key] = {
            text: _Read(tuple(by_head), length)
            for text, by_head, length in zip(texts, own.tolist(), lengths, strict=True)
        }
    shift, scale = loading.reward_scale(model)
    return Scored([_judged(ranking, read[comparison(ranking)]) for ranking in rankings], shift, scale)


class _Read(NamedTuple):
    """A response that the model could read: its logit by each head, and its length in tokens."""

    by_head: tuple[float, ...]
    length: int


def _judged(ranking: Ranking, read: Mapping[str, _Read]) -> Judged:
    told = [read.get(response.text) for response in ranking.responses]
    has_heads = any(item is not None and len(item.by_head) > 1 for item in told)
    return Judged(
        ranking=ranking,
        logits=tuple(None if item is None else fmean(item.by_head) for item in told),
        lengths=tuple(0 if item is None else item.length for item in told),
        heads=tuple(() if item is None else item.by_head for item in told) if has_heads else (),
    )
