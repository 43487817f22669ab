"""When a run should end: past these bounds a policy only games its reward, or learns nothing any more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models_core.contract.settings import PPOConfig


@dataclass(frozen=True)
class Trip:
    """Why a run ends before its time: the setting whose bound was passed, and a sentence."""

    setting: str
    reason: str


@dataclass
class Guards:
    """`flat`: phases in a row in which all answers scored alike; it is part of every checkpoint."""

    flat: int = 0

    def of_phase(self, metrics: Mapping[str, float], scores: torch.Tensor, *, settings: PPOConfig) -> Trip | None:
        """What the answers of a phase say of the policy that gave them, before it learns from them.

        `metrics`: its kl, entropy and length; `scores`: what the source said of each answer, [B].
        """
        self.flat = self.flat + 1 if len(scores) > 1 and bool((scores == scores[0]).all()) else 0
        kl, entropy, length = (metrics[name] for name in ("kl", "entropy", "length"))
        if settings.max_kl and not kl <= settings.max_kl:
            return Trip("max_kl", f"The divergence from the reference, {kl:.1f} nats an answer, is above max_kl.")
        if settings.min_entropy and not entropy >= settings.min_entropy:
            return Trip("min_entropy", f"The entropy, {entropy:.3f} nats a token, is below min_entropy.")
        if settings.min_length and not length >= settings.min_length:
            return Trip("min_length", f"Answers have {length:.1f} tokens on average, fewer than min_length.")
        if settings.zero_variance_patience and self.flat >= settings.zero_variance_patience:
            return Trip(
                "zero_variance_patience",
                f"All answers scored alike in {self.flat} phases in a row: there is nothing to learn.",
            )
        return None

    def of_measurements(self, stale: int, *, settings: PPOConfig) -> Trip | None:
        """What held-out prompts say, of which the last `stale` measurements were no better than the best."""
        if settings.patience and stale >= settings.patience:
            return Trip("patience", f"The reward on held-out prompts was not better in {stale} measurements in a row.")
        return None

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Guards":
        return cls(**state)
