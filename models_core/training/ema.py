"""A moving average of the weights that learn, smoother than the last of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from models_core.training.fsdp import local_shard
from models_core.training.optimizer import MasterAdamW


class MovingAverage:
    """Exponential moving average of fp32 weights; with `decay` 0 it does nothing.

    The decay in force after n updates is min(decay, (1 + n) / (10 + n)): a short run must not end near its start, which
    a plain average with a long memory would.
    """

    def __init__(self, optimizer: MasterAdamW, *, decay: float) -> None:
        """Of the optimizer's masters: `average` holds this process's shares where they are split."""
        self.optimizer = optimizer
        self.decay = decay
        self.updates = 0
        self.average = {name: weight.detach().clone() for name, weight in optimizer.masters.items()} if decay else {}

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, mean in self.average.items():
            mean.lerp_(self.optimizer.masters[name], 1 - decay)

    def groups(self) -> dict[str, dict[str, torch.Tensor]]:
        """For a checkpoint: {"average": named tensors, whole}, or nothing."""
        return {"average": self.optimizer.whole(self.average)} if self.average else {}

    def restore(self, tensors: Mapping[str, torch.Tensor], *, updates: int) -> None:
        """Continue from a checkpoint; without tensors, start from the weights as they are."""
        self.updates = updates
        for name, mean in self.average.items():
            found = self.optimizer.shares({name: tensors[name]})[name] if name in tensors else None
            mean.copy_(self.optimizer.masters[name] if found is None else found)

    @torch.no_grad()
    def apply(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Put the average into a model's parameters, once training is over."""
        for name, mean in self.average.items():
            local_shard(parameters[name]).copy_(mean)

    @contextmanager
    def applied(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """Within it a model is the average, as it will be saved; afterwards its parameters are what they were, bit for
        bit.
        """
        kept = {name: local_shard(parameters[name]).detach().clone() for name in self.average}
        try:
            self.apply(parameters)
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    local_shard(parameters[name]).copy_(value)
