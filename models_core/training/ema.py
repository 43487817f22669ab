"""A moving average of the weights that learn, smoother than the last of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """Exponential moving average of fp32 weights; with `decay` 0 it does nothing.

    The decay in force after n updates is min(decay, (1 + n) / (10 + n)): a short run must not end near its start, which
    a plain average with a long memory would.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], *, decay: float) -> None:
        self.weights = dict(weights)
        self.decay = decay
        self.updates = 0
        self.average = {name: weight.detach().clone() for name, weight in weights.items()} if decay else {}

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, mean in self.average.items():
            mean.lerp_(self.weights[name], 1 - decay)

    def groups(self) -> dict[str, dict[str, torch.Tensor]]:
        """For a checkpoint: {"average": named tensors}, or nothing."""
        return {"average": self.average} if self.average else {}

    def restore(self, tensors: Mapping[str, torch.Tensor], *, updates: int) -> None:
        """Continue from a checkpoint; without tensors, start from the weights as they are."""
        self.updates = updates
        for name, mean in self.average.items():
            mean.copy_(tensors.get(name, self.weights[name]))

    @torch.no_grad()
    def apply(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Put the average into a model's parameters, once training is over."""
        for name, mean in self.average.items():
            parameters[name].copy_(mean)

    @contextmanager
    def applied(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """Within it a model is the average, as it will be saved; afterwards its parameters are what they were, bit for
        bit.
        """
        kept = {name: parameters[name].detach().clone() for name in self.average}
        try:
            self.apply(parameters)
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    parameters[name].copy_(value)
