"""From scores to advantages: the KL penalty in the reward, advantage estimation by a value model or by the other
answers to the same prompt, the KL coefficient.

All tensors are [B, T]: one row per episode, one column per response token, `mask` true on real tokens. Column t of
`values` is the value of the state in which token t is chosen (prompt and tokens before t).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch


def penalised_rewards(
    *,
    scores: torch.Tensor,
    log_probs: torch.Tensor,
    reference_log_probs: torch.Tensor,
    mask: torch.Tensor,
    kl_coef: float,
) -> torch.Tensor:
    """r_t = -beta (log pi(a_t) - log pi_ref(a_t)) + [t is the last token] score: [B] and [B, T] -> [B, T].

    The last token is the last one sampled, end-of-sequence itself where there is one (Stiennon et al. 2020, section
    3.4; Ouyang et al. 2022, equation 2). The plain difference, Schulman's k1, is unbiased; the gradient of k3 in its
    place vanishes to first order near the reference.
    """
    rewards = -kl_coef * (log_probs - reference_log_probs)
    rewards = rewards.masked_fill(~mask, 0.0)
    last = mask.sum(1) - 1
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last] += scores.to(rewards.dtype)
    return rewards


class Advantages(NamedTuple):
    advantages: torch.Tensor
    returns: torch.Tensor


def generalised_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float, gae_lambda: float
) -> Advantages:
    """A_t = delta_t + gamma lambda A_{t+1} with delta_t = r_t + gamma V_{t+1} - V_t; V past the end is 0.

    Schulman et al. 2015 (1506.02438), equation 16. `returns` are A + V, from the advantages before any whitening: they
    are what the value model learns.
    """
    values = values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(values)
    next_advantage = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        # Past a row's end everything is 0, so nothing of the padding reaches its last real token.
        next_advantage = (delta + gamma * gae_lambda * next_advantage).masked_fill(~mask[:, t], 0.0)
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return Advantages(advantages, (advantages + values).masked_fill(~mask, 0.0))


def leave_one_out(rewards: torch.Tensor, samples: int) -> torch.Tensor:
    """What each answer gained over the others to its prompt: [B] -> [B], the `samples` of a prompt one after another.

    RLOO (Kool et al. 2019; Ahmadian et al. 2024, 2402.14740, equation 8): A_i = R_i - sum of R_j over j != i / (k - 1).
    """
    groups = rewards.view(-1, samples)
    others = (groups.sum(1, keepdim=True) - groups) / (samples - 1)
    return (groups - others).view(-1)


def group_normalised(rewards: torch.Tensor, samples: int) -> torch.Tensor:
    """Rewards less the mean of their prompt's answers, by their deviation: [B] -> [B].

    GRPO with outcome supervision (Shao et al. 2024, 2402.03300, section 4.1.2). The deviation is the sample's (divided
    by k - 1); answers that all score alike gain nothing.
    """
    groups = rewards.view(-1, samples)
    deviation = groups.std(1, keepdim=True)
    return ((groups - groups.mean(1, keepdim=True)) / (deviation + 1e-6)).view(-1)


@dataclass
class KLController:
    """The coefficient beta of the KL penalty: fixed, or steered towards a target.

    Ziegler et al. 2019 (1909.08593), section 2.2: after n episodes of mean sequence KL k,
    beta *= 1 + clip(k / target - 1, -0.2, 0.2) n / horizon.
    """

    coef: float
    target: float | None
    horizon: int

    def update(self, *, kl: float, episodes: int) -> None:
        """`kl`: mean over episodes of the summed token KL to the reference, in nats."""
        if self.target:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coef *= 1 + error * episodes / self.horizon
