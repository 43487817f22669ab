"""Reward models as a source: those that PPO holds in memory, one of which may share its trunk with the value model."""

from collections.abc import Callable, Sequence

import torch

from models_core.contract.records import Message
from models_core.modeling.packing import Group
from models_core.rl.rewards.base import Answered, RewardFailed

Opinions = Callable[[Sequence[Group], Sequence[Sequence[Message]]], torch.Tensor]
"""Of PPO's networks: what every head of every reward model scores each episode, by its own tokenizer: [B, voices]."""


class RewardModels:
    def __init__(self, opinions: Opinions) -> None:
        self._opinions = opinions

    def opinions(self, answers: Sequence[Answered]) -> torch.Tensor:
        """[B, voices]. Raises RewardFailed where a score is not a finite number."""
        found = (
            self._opinions([item.group for item in answers], [item.prompt.messages for item in answers])
            .detach()
            .float()
            .cpu()
        )
        if not found.isfinite().all():
            raise RewardFailed("The reward model gave a score that is not a finite number.")
        return found
