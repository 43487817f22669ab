"""Early stopping of a PPO run: bounds beyond which a policy exploits its reward model, or stops learning."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models_core.contract.settings import PPOConfig


@dataclass(frozen=True)
class StopReason:
    """Why a run ended early: the setting whose bound was exceeded, and a sentence."""

    setting: str
    reason: str


@dataclass
class EarlyStopping:
    """`zero_variance`: successive rollout iterations in which all responses scored alike; part of checkpoints."""

    zero_variance: int = 0

    def check_rollouts(
        self, metrics: Mapping[str, float], scores: torch.Tensor, *, settings: PPOConfig
    ) -> StopReason | None:
        """Check the rollouts of an iteration before the policy that sampled them is updated.

        `metrics`: kl, entropy and length of the iteration; scores: raw scores of the reward source, (batch,).
        """
        is_flat = len(scores) > 1 and bool((scores == scores[0]).all())
        self.zero_variance = self.zero_variance + 1 if is_flat else 0
        kl, entropy, length = (metrics[name] for name in ("kl", "entropy", "length"))
        if settings.max_kl and not kl <= settings.max_kl:  # NaN exceeds every bound
            return StopReason("max_kl", f"The KL to the reference, {kl:.1f} nats per response, is above max_kl.")
        if settings.min_entropy and not entropy >= settings.min_entropy:
            return StopReason("min_entropy", f"The entropy, {entropy:.3f} nats per token, is below min_entropy.")
        if settings.min_length and not length >= settings.min_length:
            return StopReason("min_length", f"Responses have {length:.1f} tokens on average, fewer than min_length.")
        if settings.zero_variance_patience and self.zero_variance >= settings.zero_variance_patience:
            return StopReason(
                "zero_variance_patience",
                f"All responses scored alike in {self.zero_variance} rollout iterations in a row: there is nothing to "
                "learn.",
            )
        return None

    def check_evaluations(self, stale: int, *, settings: PPOConfig) -> StopReason | None:
        """`stale`: evaluations on held-out prompts since the best one."""
        if settings.patience and stale >= settings.patience:
            return StopReason(
                "patience", f"The reward on held-out prompts has not improved in {stale} evaluations in a row."
            )
        return None

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.zero_variance = state["zero_variance"]
