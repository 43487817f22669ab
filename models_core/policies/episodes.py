"""The episodes of one rollout phase: what was sampled, what it was worth, and what each token gained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models_core import heads
from models_core.config import PPOConfig
from models_core.ops import explained_variance, length_mask, masked_mean, masked_sum, whiten
from models_core.packing import Group
from models_core.policies.advantages import generalised_advantages, penalised_rewards
from models_core.policies.networks import Networks, Rows


@dataclass(frozen=True)
class Episodes:
    """B episodes of at most T tokens. All rows are of the policy as it was when it sampled them."""

    groups: Sequence[Group]
    mask: torch.Tensor  # [B, T]
    log_probs: Rows
    values: Rows
    advantages: Rows  # whitened over all tokens of the phase
    returns: Rows
    metrics: dict[str, float]

    def tokens(self, rows: Sequence[int], quantity: Rows) -> torch.Tensor:
        """A quantity of these episodes, laid end to end as `pack` lays them: [M]."""
        index = torch.tensor(rows, device=quantity.device)
        return quantity[index][self.mask[index]]


def measure(
    groups: Sequence[Group], opinions: torch.Tensor, ended: torch.Tensor, *, networks: Networks, kl_coef: float
) -> Episodes:
    """Episodes with rewards and advantages, from sampled responses, what the reward model's heads score each [B, m],
    and which ended by EOS [B].
    """
    settings = networks.settings
    lengths = torch.tensor([len(group.responses[0]) for group in groups], device=opinions.device)
    mask = length_mask(lengths, int(lengths.max()))
    log_probs, reference_log_probs, values = networks.measure_policy(groups)
    scores = heads.conservative(opinions, objective=settings.reward_objective, coef=settings.reward_std_coef)
    judged = without_eos(scores, ended, settings)
    rewards = penalised_rewards(
        scores=judged, log_probs=log_probs, reference_log_probs=reference_log_probs, mask=mask, kl_coef=kl_coef
    )
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, keep_mean=True)
    advantages, returns = generalised_advantages(
        rewards, values, mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda
    )
    many = opinions.shape[-1] > 1
    kl = masked_sum(log_probs - reference_log_probs, mask) / len(groups)
    metrics = {
        "score": opinions.mean(),
        **({"score_std": opinions.std(-1, correction=0).mean(), "conservative_score": scores.mean()} if many else {}),
        "reward": judged.mean() - kl_coef * kl,
        "kl": kl,
        "entropy": -masked_mean(log_probs, mask),  # of the sampled tokens: an unbiased estimate
        "length": lengths.float().mean(),
        "eos_rate": ended.float().mean(),
        "value_explained_variance": explained_variance(values, returns, mask),
    }
    return Episodes(
        groups=groups,
        mask=mask,
        log_probs=log_probs,
        values=values,
        advantages=whiten(advantages, mask),
        returns=returns,
        metrics={name: value.item() for name, value in metrics.items()},
    )


def without_eos(scores: torch.Tensor, ended: torch.Tensor, settings: PPOConfig) -> torch.Tensor:
    """Scores after the setting `missing_eos` has dealt with responses that were cut off: [B] -> [B].

    Ziegler et al. and Stiennon et al. replace the score by a constant, which is flat where hardly any response ends in
    time; taking a penalty off keeps the order among the cut ones.
    """
    if settings.missing_eos == "subtract":
        return torch.where(ended, scores, scores - settings.missing_eos_penalty)
    if settings.missing_eos == "replace":
        return torch.where(ended, scores, torch.full_like(scores, -settings.missing_eos_penalty))
    return scores
