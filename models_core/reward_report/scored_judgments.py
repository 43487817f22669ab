"""Judgments with a reward model's logits: from logits of training examples, or by a saved reward model."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch

from models_core.contract.rows.records import Ranking
from models_core.modeling import loading
from models_core.preferences.encoding import Example
from models_core.reward_report.heldout_judgments import ScoredJudgment, comparison_key
from models_core.rl.rewards.reward_models import RewardModel


class ScoredRankings(NamedTuple):
    """Judgments with logits, and the shift and scale of the model's scores."""

    judgments: list[ScoredJudgment]
    shift: float
    scale: float


def from_examples(examples: Sequence[Example], logits: Sequence[torch.Tensor]) -> list[ScoredJudgment]:
    """All rankings of the examples, with logits by head: (responses, heads) an example."""
    return [
        _from_example(ranking, indices, example, logits=head_logits)
        for example, head_logits in zip(examples, logits, strict=True)
        for comparison in example.comparisons
        for ranking, indices in zip(comparison.rows, comparison.indices, strict=True)
    ]


def _from_example(
    ranking: Ranking, indices: Sequence[int | None], example: Example, *, logits: torch.Tensor
) -> ScoredJudgment:
    means, by_head = logits.mean(-1).tolist(), logits.tolist()
    has_heads = logits.shape[-1] > 1
    return ScoredJudgment(
        ranking=ranking,
        logits=tuple(None if index is None else means[index] for index in indices),
        lengths=tuple(0 if index is None else len(example.group.responses[index]) for index in indices),
        heads=tuple(() if index is None else tuple(by_head[index]) for index in indices) if has_heads else (),
    )


def score_rankings(
    name: str,
    rankings: Sequence[Ranking],
    *,
    device: torch.device,
    dtype: torch.dtype,
    max_length: int,
    budget: int,
) -> ScoredRankings:
    """Rankings with the logits of a saved reward model. Responses that several labelers ranked are scored once."""
    model = RewardModel.load(name, device=device, dtype=dtype, max_length=max_length, budget=budget)
    first = {comparison_key(ranking): ranking for ranking in reversed(rankings)}
    encoded = [
        model.encode(ranking.messages, [response.text for response in ranking.responses]) for ranking in first.values()
    ]
    scored: dict[object, dict[str, _ScoredResponse]] = {}
    head_logits = model.head_logits([item.group for item in encoded])
    for (key, ranking), item, logits in zip(first.items(), encoded, head_logits, strict=True):
        texts = [response.text for response, fits in zip(ranking.responses, item.fits, strict=True) if fits]
        lengths = map(len, item.group.responses)
        scored[key] = {
            text: _ScoredResponse(tuple(by_head), length)
            for text, by_head, length in zip(texts, logits.tolist(), lengths, strict=True)
        }
    shift, scale = loading.reward_scale(model.model)
    judgments = [_from_responses(ranking, scored[comparison_key(ranking)]) for ranking in rankings]
    return ScoredRankings(judgments, shift, scale)


class _ScoredResponse(NamedTuple):
    """Logits by head, and the length in tokens."""

    by_head: tuple[float, ...]
    length: int


def _from_responses(ranking: Ranking, scored: Mapping[str, _ScoredResponse]) -> ScoredJudgment:
    responses = [scored.get(response.text) for response in ranking.responses]
    has_heads = any(item is not None and len(item.by_head) > 1 for item in responses)
    return ScoredJudgment(
        ranking=ranking,
        logits=tuple(None if item is None else fmean(item.by_head) for item in responses),
        lengths=tuple(0 if item is None else item.length for item in responses),
        heads=tuple(() if item is None else item.by_head for item in responses) if has_heads else (),
    )
