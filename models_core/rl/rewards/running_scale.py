"""The scale of scores: how they were spread over all the phases so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class RunningScale:
    """Mean and deviation of all numbers seen, joined phase by phase (Chan, Golub and LeVeque 1979), in fp64.

    It is part of every checkpoint, in JSON, which keeps each digit: a resumed run divides by the very same numbers.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # the sum of squared differences to the mean

    def see(self, values: Sequence[float]) -> None:
        """Join the numbers of a phase."""
        count = len(values)
        mean = math.fsum(values) / count
        squares = math.fsum((value - mean) ** 2 for value in values)
        total = self.count + count
        apart = mean - self.mean
        self.squares += squares + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Of the numbers themselves (divided by their count); 1 while all of them are equal."""
        return math.sqrt(self.squares / self.count) if self.squares > 0 else 1.0

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "RunningScale":
        return cls(**state)
