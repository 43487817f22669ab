"""What the sampler knew of the tokens it drew, and whether that stands in for a pass of the policy over them.

A token's log-probability was known when it was drawn, and the value of the state it was drawn in is a linear function
of what the head read then, where the value head sits on the policy's trunk. Sampler and training compute the same
numbers by different roads: step by step, by other kernels, with LoRA merged into the weights. So nothing is taken on
trust: a run's first phase computes both and compares; in every later one the first minibatch, which is computed before
a weight has moved, is compared with what was told of it, at no cost. Once the two are too far apart, the policy is
asked in every phase.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models_core.contract import processes
from models_core.modeling.adapters.layers import embedding
from models_core.rl.actor_critic import Networks
from models_core.rl.rewards.base import Answered
from models_core.rl.trajectories import Episodes, Told, rows_of
from models_core.training import distributed


class Tolerance(NamedTuple):
    """How far two accounts may be apart: in the mean of log-probabilities and of values, and in any one number."""

    mean: float
    value_mean: float
    largest: float


TOLERANCES = {
    torch.float64: Tolerance(mean=1e-9, value_mean=1e-9, largest=1e-9),
    torch.float32: Tolerance(mean=1e-5, value_mean=1e-5, largest=1e-4),
    torch.bfloat16: Tolerance(mean=5e-3, value_mean=2e-2, largest=2.0),
}
"""By the numbers that the policy computes in. Divergence is a sum over tokens, so a small bias counts for more than a
large spread; docs/experiments.md has the differences in bf16: their mean is a third of this, their deviation 0.06.
Values are what scores are compared with, and may all be shifted by a little without teaching anything else."""
NONE = Tolerance(mean=0.0, value_mean=0.0, largest=0.0)
STANDARD_ERRORS = 3.0
"""A mean is too large only where it is so by this many of its standard errors: a phase may be short."""


@dataclass
class Difference:
    """How far two accounts of the same numbers are apart: sums, so that parts of them can be added."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    def add(self, apart: Tensor) -> None:
        """The differences of some of them: [M]."""
        apart = apart.detach().double()
        self.count += len(apart)
        self.total += apart.sum().item()
        self.squares += apart.square().sum().item()
        self.largest = max(self.largest, apart.abs().max().item())

    def over_processes(self, device: torch.device) -> "Difference":
        """That of all processes together."""
        sums = torch.tensor([self.count, self.total, self.squares], dtype=torch.float64, device=device)
        largest = max(distributed.all_gather({processes.rank(): self.largest}).values())
        count, total, squares = distributed.all_reduce_sum(sums).tolist()
        return Difference(count, total, squares, largest)

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0) / self.count)

    def is_within(self, *, mean: float, largest: float) -> bool:
        """Never where something is no finite number."""
        return (
            math.isfinite(self.squares)
            and self.largest <= largest
            and abs(self.mean) <= mean + STANDARD_ERRORS * self.standard_error
        )


@dataclass
class Comparison:
    """What the policy says of tokens beside what the sampler told of them. A value's difference is in its own size, or
    in 1 where it is smaller."""

    log_probs: Difference = field(default_factory=Difference)
    values: Difference = field(default_factory=Difference)

    def add(self, *, log_probs: Tensor, told_log_probs: Tensor, values: Tensor | None, told_values: Tensor) -> None:
        """[M] each. `values`: of the head on the policy's trunk; None where there is no such head."""
        self.log_probs.add(log_probs - told_log_probs)
        if values is not None:
            self.values.add((values - told_values) / values.abs().clamp(min=1))

    def over_processes(self, device: torch.device) -> "Comparison":
        return Comparison(self.log_probs.over_processes(device), self.values.over_processes(device))

    def is_within(self, tolerance: Tolerance) -> bool:
        mean, value_mean, largest = tolerance
        is_alike = self.log_probs.is_within(mean=mean, largest=largest)
        return is_alike and (not self.values.count or self.values.is_within(mean=value_mean, largest=largest))

    @property
    def metrics(self) -> dict[str, float]:
        found = {
            "sampler_error": self.log_probs.largest,
            "sampler_bias": self.log_probs.mean,
            "sampler_bias_error": self.log_probs.standard_error,
        }
        return found | ({"sampler_value_error": self.values.largest} if self.values.count else {})


class Sampler:
    """Whether the sampler is taken at its word: `is_trusted` is None until it has been tested."""

    def __init__(self, networks: Networks, state: Mapping[str, Any]) -> None:
        """`state`: what `state` gave for a checkpoint, {} at a fresh start."""
        self.networks = networks
        self.is_trusted: bool | None = state.get("is_trusted")
        if networks.settings.sampler_log_probs == "recompute":
            self.is_trusted = False
        self.tolerance = TOLERANCES.get(embedding(networks.policy).dtype, NONE)

    def state(self) -> dict[str, Any]:
        return {"is_trusted": self.is_trusted}

    def told(self, sampled: Sequence[Answered]) -> Told | None:
        """What stands in for the policy's pass over these answers; None where the policy has to be asked."""
        return self._told(sampled) if self.is_trusted else None

    def test(self, sampled: Sequence[Answered], phase: Episodes) -> dict[str, float]:
        """Compare the first phase, which the policy has measured; its metrics. {} where that has been done."""
        if self.is_trusted is not None:
            return {}
        told, mask = self._told(sampled), phase.mask
        comparison = Comparison()
        comparison.add(
            log_probs=phase.log_probs[mask],
            told_log_probs=told.log_probs[mask],
            values=phase.values[mask] if self.networks.is_one_trunk else None,
            told_values=told.values[mask],
        )
        self.is_trusted = comparison.is_within(self.tolerance)
        found = comparison.metrics
        verdict = "stand in for a pass of the policy" if self.is_trusted else "are not used: the policy is asked again"
        processes.log_main(f"The sampler's log-probabilities {verdict}; {_in_words(found)}.")
        return found

    def check(self, comparison: Comparison) -> dict[str, float]:
        """Compare the first minibatch of a later phase; metrics only where it ends the trust.

        What was learned from that phase stands: its guards have seen the very numbers.
        """
        if not self.is_trusted:
            return {}
        whole = comparison.over_processes(self.networks.device)
        self.is_trusted = whole.is_within(self.tolerance)
        if self.is_trusted:
            return {}
        found = whole.metrics
        processes.log_main(f"The sampler's log-probabilities are not used any more: {_in_words(found)}.")
        return found

    def _told(self, sampled: Sequence[Answered]) -> Told:
        log_probs = rows_of([answer.log_probs for answer in sampled], device=self.networks.device)
        if not self.networks.is_one_trunk:
            return Told(log_probs, torch.zeros_like(log_probs))
        return Told(log_probs, rows_of([answer.values for answer in sampled], device=self.networks.device))


def _in_words(found: Mapping[str, float]) -> str:
    return (
        f"they differ from the policy's by {found['sampler_bias']:.1e} in the mean (standard error "
        f"{found['sampler_bias_error']:.1e}) and by at most {found['sampler_error']:.1e}"
    )
