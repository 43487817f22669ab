"""Importance weights of rollouts that another policy sampled than the one that learns from them."""

from typing import NamedTuple

from torch import Tensor

from models_core.modeling.ops import masked_mean


class ImportanceWeights(NamedTuple):
    """`weights`: (batch, tokens), 0 past the end of a response; their mean before truncation, and how many it cuts."""

    weights: Tensor
    mean: Tensor
    truncated: Tensor


def importance_weights(
    log_probs: Tensor, behaviour_log_probs: Tensor, mask: Tensor, *, cap: float
) -> ImportanceWeights:
    """Truncated importance weights of tokens, w = min(pi_prox / pi_behav, cap). All tensors: (batch, tokens).

    `log_probs`: of the policy before this iteration's updates, the proximal policy; `behaviour_log_probs`: those that
    the sampler noted. The loss is then that of decoupled PPO (Hilton et al. 2021, 2110.00641, equation 2),
    E[w min(rho A, clip(rho, 1 - e, 1 + e) A)] with rho = pi / pi_prox: the clip range bounds the step from the proximal
    policy, and w corrects for who sampled. The truncation bounds the variance of w (Ionides 2008, "Truncated
    importance sampling", equation 3) at the price of a bias towards the behaviour policy.
    """
    ratio = (log_probs - behaviour_log_probs.to(log_probs)).exp()
    weights = ratio.clamp(max=cap).masked_fill(~mask, 0.0)
    return ImportanceWeights(weights, masked_mean(ratio, mask), masked_mean((ratio > cap).to(ratio), mask))
