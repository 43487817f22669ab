"""Advantages from scores: KL penalty in the reward, GAE, group baselines, and the controller of the KL coefficient.

Tensors are (batch, tokens): one row a rollout, one column a response token, `mask` true on real tokens. Column t of
`values` is the value of the state in which token t is chosen (prompt and the tokens before t).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch


def kl_penalised_rewards(
    *,
    scores: torch.Tensor,
    log_probs: torch.Tensor,
    reference_log_probs: torch.Tensor,
    mask: torch.Tensor,
    kl_coef: float,
) -> torch.Tensor:
    """r_t = -beta (log pi(a_t) - log pi_ref(a_t)) + [t is the last token] score.

    scores: (batch,); the others and the result: (batch, tokens). The last token is the last one sampled, including
    end-of-sequence (Stiennon et al. 2020, section 3.4; Ouyang et al. 2022, equation 2). The log-ratio itself is
    Schulman's k1 estimate of KL, which is unbiased; the gradient of k3 in its place vanishes to first order near the
    reference.
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


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float, gae_lambda: float
) -> Advantages:
    """Generalised advantage estimation: A_t = delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t.

    rewards, values, mask and both results: (batch, tokens); V past the end is 0 (Schulman et al. 2015, 1506.02438,
    equation 16). `returns` are A + V, from the advantages before whitening: the targets of the value model.
    """
    values = values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(values)
    next_advantage = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        # Padding is reset to 0, so that it never reaches the last real token of a row.
        next_advantage = (delta + gamma * gae_lambda * next_advantage).masked_fill(~mask[:, t], 0.0)
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return Advantages(advantages, (advantages + values).masked_fill(~mask, 0.0))


def rloo_advantages(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Reward minus the mean reward of the other responses to the prompt: (batch,) -> (batch,).

    RLOO (Kool et al. 2019; Ahmadian et al. 2024, 2402.14740, equation 8): A_i = R_i - sum of R_j over j != i / (k - 1).
    The `group_size` responses to a prompt are adjacent.
    """
    groups = rewards.view(-1, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).view(-1)


def grpo_advantages(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Rewards standardised within their prompt's group: (batch,) -> (batch,), the responses to a prompt adjacent.

    GRPO with outcome supervision (Shao et al. 2024, 2402.03300, section 4.1.2), with the sample standard deviation
    (divided by k - 1). A group of equal rewards has advantages 0.
    """
    groups = rewards.view(-1, group_size)
    std = groups.std(1, keepdim=True)
    return ((groups - groups.mean(1, keepdim=True)) / (std + 1e-6)).view(-1)


@dataclass
class KLController:
    """The KL coefficient beta: constant, or adapted towards a target KL.

    Ziegler et al. 2019 (1909.08593), section 2.2: after n episodes of mean sequence KL k,
    beta *= 1 + clip(k / target - 1, -0.2, 0.2) n / horizon.
    """

    coef: float
    target: float | None
    horizon: int

    def update(self, *, kl: float, episodes: int) -> None:
        """`kl`: mean over episodes of the KL to the reference summed over tokens, in nats."""
        if self.target:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coef *= 1 + error * episodes / self.horizon
