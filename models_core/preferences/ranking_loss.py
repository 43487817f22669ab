"""The ranking loss of reward models and of DPO: pairs of a ranking, and the K-wise pairwise loss over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from models_core.modeling.devices import to_device

Ties = Literal["skip", "soft"]


class Pair(NamedTuple):
    """Two responses of one ranking, by index. `target`: probability that `better` wins, 1 or 0.5 for a tie.

    `margin`: distance wanted between the two scores.
    """

    better: int
    worse: int
    target: float
    margin: float = 0.0


def ranked_pairs(ranks: Sequence[int | None], *, ties: Ties = "skip") -> list[Pair]:
    """All pairs that a ranking with ties and gaps implies. Rank 1 is best, None is unranked.

    >>> ranked_pairs([2, 1, 2])
    [Pair(better=1, worse=0, target=1.0, margin=0.0), Pair(better=1, worse=2, target=1.0, margin=0.0)]
    """
    pairs = []
    for i, j in combinations(range(len(ranks)), 2):
        first, second = ranks[i], ranks[j]
        if first is None or second is None:
            continue
        if first < second:
            pairs.append(Pair(i, j, 1.0))
        elif second < first:
            pairs.append(Pair(j, i, 1.0))
        elif ties == "soft":
            pairs.append(Pair(i, j, 0.5))
    return pairs


@dataclass(frozen=True)
class PairBatch:
    """The pairs of several rankings as indices into one flat tensor of scores. All fields but one: (pairs,).

    Floating-point fields are fp64; the loss casts them to the precision of its scores.
    """

    better: torch.Tensor
    worse: torch.Tensor
    target: torch.Tensor
    margin: torch.Tensor
    weight: torch.Tensor  # weight of the ranking / number of its pairs; (heads, pairs) under a bootstrap
    ordered: torch.Tensor  # (strictly ordered pairs,): their numbers

    @classmethod
    def from_groups(
        cls, groups: Sequence[Sequence["RankedPairs"]], *, device: torch.device | str = "cpu"
    ) -> "PairBatch":
        """`groups`: for each prompt its rankings of the same responses. Responses are laid end to end over prompts.

        A ranking has weight 1 however many pairs it has: 1 / C(K, 2) of Ouyang et al. 2022, equation 1.
        """
        rows: list[tuple[int, int, float, float, float]] = []
        start = 0
        for rankings in groups:
            for ranking in rankings:
                for pair in ranking.pairs:
                    weight = ranking.weight / len(ranking.pairs)
                    rows.append((start + pair.better, start + pair.worse, pair.target, pair.margin, weight))
            start += rankings[0].num_responses
        better, worse, target, margins, weights = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return cls(
            better=to_device(better, device, dtype=torch.long),
            worse=to_device(worse, device, dtype=torch.long),
            target=to_device(target, device, dtype=torch.float64),
            margin=to_device(margins, device, dtype=torch.float64),
            weight=to_device(weights, device, dtype=torch.float64),
            ordered=to_device([pair for pair, value in enumerate(target) if value == 1.0], device, dtype=torch.long),
        )

    def differences(self, scores: torch.Tensor) -> torch.Tensor:
        """Score of the better response minus that of the worse: (responses,) -> (strictly ordered pairs,)."""
        return (scores[self.better] - scores[self.worse])[self.ordered]


def pair_correct(differences: torch.Tensor) -> torch.Tensor:
    """1 for a positive difference of scores, 0 for a negative one, 0.5 for none: (pairs,) -> (pairs,)."""
    return torch.heaviside(differences, differences.new_full((), 0.5))


@dataclass(frozen=True)
class RankedPairs:
    """One ranking of a prompt's responses: their number and its ordered pairs."""

    num_responses: int
    pairs: Sequence[Pair]
    weight: float = 1.0


def ranking_loss(scores: torch.Tensor, pairs: PairBatch) -> torch.Tensor:
    """K-wise pairwise loss summed over rankings: (..., responses) -> (...,). Divide by the number of rankings.

    Per ranking the mean over its pairs of -log sigmoid(r_better - r_worse - margin): Ouyang et al. 2022, equation 1,
    with the margin of Llama 2 (Touvron et al. 2023, equation 2). A tie is the cross-entropy with target 0.5, minimal
    at equal scores.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    target, margin, weight = (field.to(scores.dtype) for field in (pairs.target, pairs.margin, pairs.weight))
    difference = scores[..., pairs.better] - scores[..., pairs.worse] - margin
    per_pair = -target * functional.logsigmoid(difference) - (1 - target) * functional.logsigmoid(-difference)
    return (weight * per_pair).sum(-1)
