"""Loss functions of PPO and GRPO: pure functions of tensors, each one equation of a paper.

Each returns a SUM over tokens. The caller divides by the token count of the whole minibatch, not of the micro-batch:
otherwise the gradient would depend on how a minibatch is cut.
"""

from typing import NamedTuple

import torch


class PolicyLoss(NamedTuple):
    """Sums over tokens, to be divided by the minibatch's token count."""

    loss: torch.Tensor
    clipped: torch.Tensor  # tokens whose clipped term is the larger one
    approx_kl: torch.Tensor  # k3 estimate of KL(old || new), Schulman 2020; without gradient


def policy_loss(
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_range: float,
    weights: torch.Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate loss, the sum of max(-A rho, -A clip(rho, 1 - e, 1 + e)). All tensors: (tokens,).

    Schulman et al. 2017 (1707.06347), equation 7, negated. `weights`: factor of each token in the loss, 1 by default;
    `clipped` and `approx_kl` are unweighted.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    with torch.no_grad():
        clipped_tokens = (clipped > unclipped).to(unclipped.dtype).sum()
        approx_kl = (ratio - 1 - log_ratio).sum()
    per_token = torch.maximum(unclipped, clipped)
    loss = per_token.sum() if weights is None else (weights * per_token).sum()
    return PolicyLoss(loss, clipped_tokens, approx_kl)


def kl_loss(log_probs: torch.Tensor, reference_log_probs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """GRPO's KL penalty, the sum of w (r - log r - 1) with r = pi_ref / pi. All tensors: (tokens,).

    Shao et al. 2024 (2402.03300), equation 4: Schulman's k3, an unbiased, non-negative estimate of KL(pi || pi_ref).
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
    """Half the larger of the unclipped and the clipped squared error, summed over tokens. All tensors: (tokens,).

    A value is clipped to `clip_range` around the one at sampling time (Ziegler et al. 2019; detail 9 of "The 37
    implementation details of PPO", Huang et al. 2022).
    """
    clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    unclipped = (values - returns) ** 2
    clipped = (clipped_values - returns) ** 2
    with torch.no_grad():
        clipped_tokens = (clipped > unclipped).to(unclipped.dtype).sum()
    return ValueLoss(0.5 * torch.maximum(unclipped, clipped).sum(), clipped_tokens)
