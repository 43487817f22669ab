"""Loss functions, each a pure function of tensors, named after the equation it computes.

Losses of sequences return a SUM over tokens. The recipe divides by the token count of the whole minibatch, not of the
micro-batch at hand: otherwise the gradient would depend on how a minibatch happens to be cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

Ties = Literal["skip", "soft"]


class Pair(NamedTuple):
    """Two responses of one ranking. `target` is the wanted probability that `better` wins: 1, or 0.5 for a tie.

    Where there is a `margin`, the scores of an ordered pair are wanted that far apart.
    """

    better: int
    worse: int
    target: float
    margin: float = 0.0


def ranked_pairs(ranks: Sequence[int | None], *, ties: Ties = "skip") -> list[Pair]:
    """All pairs that a ranking with ties and gaps implies; rank 1 is best, None means not ranked.

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
class Comparisons:
    """The pairs of several rankings, as indices into one flat tensor of scores. All fields have shape [pairs].

    Numbers are fp64 here, and the loss takes them in the precision of its scores.
    """

    better: torch.Tensor
    worse: torch.Tensor
    target: torch.Tensor
    margin: torch.Tensor
    weight: torch.Tensor  # the ranking's weight / number of its pairs

    @classmethod
    def of(cls, groups: Sequence[Sequence["RankedGroup"]], *, device: torch.device | str = "cpu") -> "Comparisons":
        """Join groups of responses that lie end to end, each with one or more rankings of the same responses.

        Each ranking counts once however many pairs it has: InstructGPT's 1 / C(K, 2), Ouyang et al. 2022, equation 1.
        """
        rows: list[tuple[int, int, float, float, float]] = []
        start = 0
        for rankings in groups:
            for ranking in rankings:
                for pair in ranking.pairs:
                    weight = ranking.weight / len(ranking.pairs)
                    rows.append((start + pair.better, start + pair.worse, pair.target, pair.margin, weight))
            start += rankings[0].size
        better, worse, target, margin_, weight_ = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return cls(
            better=torch.tensor(better, dtype=torch.long, device=device),
            worse=torch.tensor(worse, dtype=torch.long, device=device),
            target=torch.tensor(target, dtype=torch.float64, device=device),
            margin=torch.tensor(margin_, dtype=torch.float64, device=device),
            weight=torch.tensor(weight_, dtype=torch.float64, device=device),
        )

    def differences(self, scores: torch.Tensor) -> torch.Tensor:
        """How far the better of each strictly ordered pair is above the worse: [responses] -> [strict pairs]."""
        return (scores[self.better] - scores[self.worse])[self.target == 1.0]


def in_order(differences: torch.Tensor) -> torch.Tensor:
    """1 for each pair in the right order, one half where both score alike: [pairs] -> [pairs]."""
    return torch.heaviside(differences, differences.new_tensor(0.5))


@dataclass(frozen=True)
class RankedGroup:
    """One ranking as the loss sees it: how many responses it has, and which pairs of them are ordered."""

    size: int
    pairs: Sequence[Pair]
    weight: float = 1.0


def ranking_loss(scores: torch.Tensor, comparisons: Comparisons) -> torch.Tensor:
    """K-wise pairwise loss, summed over rankings: [..., responses] -> [...]. Divide by the rankings' weights in sum.

    Per ranking the mean over its pairs of -log sigmoid(r_better - r_worse - margin): Ouyang et al. 2022, equation 1;
    the margin as in Llama 2 (Touvron et al. 2023, equation 2). A tie (target 0.5) is the cross-entropy with one half,
    least where both score the same.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    target, margin, weight = (
        field.to(scores.dtype) for field in (comparisons.target, comparisons.margin, comparisons.weight)
    )
    difference = scores[..., comparisons.better] - scores[..., comparisons.worse] - margin
    per_pair = -target * functional.logsigmoid(difference) - (1 - target) * functional.logsigmoid(-difference)
    return (weight * per_pair).sum(-1)


class PolicyLoss(NamedTuple):
    """Sums over tokens, to be divided by the minibatch's token count."""

    loss: torch.Tensor
    clipped: torch.Tensor  # tokens whose clipped objective was the one in force
    approx_kl: torch.Tensor  # k3 estimate of KL(old || new), Schulman 2020; a metric, it has no gradient


def policy_loss(
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_range: float,
    weights: torch.Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate, sum of max(-A rho, -A clip(rho, 1 - e, 1 + e)): all tensors [tokens], laid end to end.

    Schulman et al. 2017, equation 7, with the sign turned so that less is better. `weights` are those of the tokens in
    the loss, 1 where there are none; what is only measured goes without.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    with torch.no_grad():
        clipped_tokens = (clipped > plain).to(plain.dtype).sum()
        approx_kl = (ratio - 1 - log_ratio).sum()
    per_token = torch.maximum(plain, clipped)
    loss = per_token.sum() if weights is None else (weights * per_token).sum()
    return PolicyLoss(loss, clipped_tokens, approx_kl)


def divergence_loss(log_probs: torch.Tensor, reference_log_probs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """GRPO's penalty for leaving the reference: sum of w (r - log r - 1) with r = pi_ref / pi, all tensors [tokens].

    Shao et al. 2024 (2402.03300), equation 4: Schulman's k3, an unbiased estimate of KL(pi || pi_ref), never negative.
    """
    log_ratio = reference_log_probs - log_probs
    return (weights * (log_ratio.exp() - log_ratio - 1)).sum()


class ValueLoss(NamedTuple):
    """Sums over tokens, to be divided by the minibatch's token count."""

    loss: torch.Tensor
    clipped: torch.Tensor


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, *, clip_range: float
) -> ValueLoss:
    """Half the larger of the plain and the clipped squared error, summed: all tensors [tokens], laid end to end.

    The clip holds a value within `clip_range` of the one it had when the episode was sampled (Ziegler et al. 2019;
    detail 9 of "The 37 implementation details of PPO", Huang et al. 2022).
    """
    held = old_values + (values - old_values).clamp(-clip_range, clip_range)
    plain = (values - returns) ** 2
    clipped = (held - returns) ** 2
    with torch.no_grad():
        clipped_tokens = (clipped > plain).to(plain.dtype).sum()
    return ValueLoss(0.5 * torch.maximum(plain, clipped).sum(), clipped_tokens)
