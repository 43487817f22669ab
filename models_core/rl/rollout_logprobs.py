"""Reuse of the log-probabilities and values noted while sampling, in place of a forward pass of the policy.

The sampler knows each token's log-probability, and, with a value head on the policy's trunk, the value of each state.
Sampling and training compute them differently: token by token, with other kernels, with LoRA merged into the weights.
So reuse is checked: the first rollout iteration computes both and compares; in every later one the first minibatch,
computed before a weight has moved, is compared at no cost. Once the two differ by too much, every iteration runs the
forward pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models_core.contract.runs import processes
from models_core.modeling.adapters.layers import embedding
from models_core.modeling.devices import to_device
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.rewards.base import Completion
from models_core.rl.trajectories import RolloutLogprobs, Trajectories, pad_rows
from models_core.training import distributed


class Tolerance(NamedTuple):
    """Largest accepted difference: of the mean log-probability, of the mean value, and of any single number."""

    mean: float
    value_mean: float
    largest: float


TOLERANCES = {
    torch.float64: Tolerance(mean=1e-9, value_mean=1e-9, largest=1e-9),
    torch.float32: Tolerance(mean=1e-5, value_mean=1e-5, largest=1e-4),
    torch.bfloat16: Tolerance(mean=5e-3, value_mean=2e-2, largest=2.0),
}
"""By the policy's dtype. KL is a sum over tokens, so a small bias matters more than a large spread;
docs/experiments.md has the differences in bf16: their mean is a third of this, their deviation 0.06. Values are the
baseline of scores, and a small common shift of them changes no advantage."""
ZERO_TOLERANCE = Tolerance(mean=0.0, value_mean=0.0, largest=0.0)
STANDARD_ERRORS = 3.0
"""A mean exceeds its tolerance only by more than this many standard errors: an iteration may be short."""


@dataclass
class DifferenceStats:
    """Running sums of differences between two computations of the same numbers."""

    count: float = 0.0
    known: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the sum, that of the squares, and the largest difference
    unread: list[Tensor] = field(default_factory=list)  # what was added to them since

    def add(self, differences: Tensor) -> None:
        """differences: (M,). Reads none of them."""
        differences = differences.detach().double()
        self.count += len(differences)
        self.unread.append(torch.stack([differences.sum(), differences.square().sum(), differences.abs().max()]))

    @property
    def sums(self) -> tuple[float, float, float]:
        """The sum, that of the squares, and the largest difference, all read at once."""
        if self.unread:
            for more, more_squares, larger in torch.stack(self.unread).tolist():
                total, squares, largest = self.known
                self.known = total + more, squares + more_squares, max(largest, larger)
            self.unread.clear()
        return self.known

    def over_processes(self, device: torch.device) -> "DifferenceStats":
        """The statistics of all processes together."""
        if processes.count() == 1:
            return self
        total, squares, largest = self.sums
        sums = to_device([self.count, total, squares], device, dtype=torch.float64)
        largest = max(distributed.all_gather({processes.rank(): largest}).values())
        count, total, squares = distributed.all_reduce_sum(sums).tolist()
        return DifferenceStats(count, (total, squares, largest))

    @property
    def mean(self) -> float:
        return self.sums[0] / self.count

    @property
    def squares(self) -> float:
        return self.sums[1]

    @property
    def largest(self) -> float:
        return self.sums[2]

    @property
    def deviation(self) -> float:
        """Root mean square of the differences."""
        return math.sqrt(self.squares / self.count) if math.isfinite(self.squares) else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0) / self.count)

    def is_within(self, *, mean: float, largest: float) -> bool:
        """False where a number is not finite."""
        return (
            math.isfinite(self.squares)
            and self.largest <= largest
            and abs(self.mean) <= mean + STANDARD_ERRORS * self.standard_error
        )


@dataclass
class LogprobComparison:
    """Differences between a forward pass of the policy and the numbers noted while sampling.

    Differences of values are relative to the value's size, at least 1.
    """

    log_probs: DifferenceStats = field(default_factory=DifferenceStats)
    values: DifferenceStats = field(default_factory=DifferenceStats)

    def add(
        self, *, log_probs: Tensor, rollout_log_probs: Tensor, values: Tensor | None, rollout_values: Tensor
    ) -> None:
        """All tensors: (M,). `values`: of a value head on the policy's trunk, else None."""
        self.log_probs.add(log_probs - rollout_log_probs)
        if values is not None:
            self.values.add((values - rollout_values) / values.abs().clamp(min=1))

    def over_processes(self, device: torch.device) -> "LogprobComparison":
        return LogprobComparison(self.log_probs.over_processes(device), self.values.over_processes(device))

    def is_within(self, tolerance: Tolerance) -> bool:
        mean, value_mean, largest = tolerance
        is_alike = self.log_probs.is_within(mean=mean, largest=largest)
        return is_alike and (not self.values.count or self.values.is_within(mean=value_mean, largest=largest))

    @property
    def metrics(self) -> dict[str, float]:
        metrics = {
            "sampler_error": self.log_probs.largest,
            "sampler_bias": self.log_probs.mean,
            "sampler_bias_error": self.log_probs.standard_error,
        }
        return metrics | ({"sampler_value_error": self.values.largest} if self.values.count else {})


class RolloutLogprobCheck:
    """Decides whether log-probabilities noted while sampling are reused. `enabled` is None until the first check."""

    def __init__(self, actor_critic: ActorCritic) -> None:
        self.actor_critic = actor_critic
        self.enabled: bool | None = None
        if actor_critic.settings.sampler_log_probs == "recompute":
            self.enabled = False
        self.tolerance = TOLERANCES.get(embedding(actor_critic.policy).dtype, ZERO_TOLERANCE)

    def state_dict(self) -> dict[str, Any]:
        return {"enabled": self.enabled}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.enabled = state["enabled"]

    def reused_logprobs(self, completions: Sequence[Completion]) -> RolloutLogprobs | None:
        """Replacement for the policy's forward pass over these completions; None where the pass is needed."""
        return self._noted(completions) if self.enabled else None

    def first_check(self, completions: Sequence[Completion], trajectories: Trajectories) -> dict[str, float]:
        """Compare the first iteration, which ran the forward pass; returns metrics, {} after the first check."""
        if self.enabled is not None:
            return {}
        noted, mask = self._noted(completions), trajectories.mask
        comparison = LogprobComparison()
        comparison.add(
            log_probs=trajectories.log_probs[mask],
            rollout_log_probs=noted.log_probs[mask],
            values=trajectories.values[mask] if self.actor_critic.shares_trunk else None,
            rollout_values=noted.values[mask],
        )
        self.enabled = comparison.is_within(self.tolerance)
        metrics = comparison.metrics
        decision = "are reused" if self.enabled else "are not reused, every iteration runs the policy again"
        processes.log_main(f"The sampler's log-probabilities {decision}: {_difference_text(metrics)}.")
        return metrics

    def recheck(self, comparison: LogprobComparison) -> dict[str, float]:
        """Compare the first minibatch of a later iteration; returns metrics only where it ends the reuse.

        The updates of that iteration stand: early stopping has seen the very numbers they used.
        """
        if not self.enabled:
            return {}
        combined = comparison.over_processes(self.actor_critic.device)
        self.enabled = combined.is_within(self.tolerance)
        if self.enabled:
            return {}
        metrics = combined.metrics
        processes.log_main(f"The sampler's log-probabilities are no longer reused: {_difference_text(metrics)}.")
        return metrics

    def _noted(self, completions: Sequence[Completion]) -> RolloutLogprobs:
        device = self.actor_critic.device
        log_probs = pad_rows([item.log_probs for item in completions], device=device)
        if not self.actor_critic.shares_trunk:
            return RolloutLogprobs(log_probs, torch.zeros_like(log_probs))
        return RolloutLogprobs(log_probs, pad_rows([item.values for item in completions], device=device))


def _difference_text(metrics: Mapping[str, float]) -> str:
    return (
        f"they differ from the policy's by {metrics['sampler_bias']:.1e} in the mean (standard error "
        f"{metrics['sampler_bias_error']:.1e}) and by at most {metrics['sampler_error']:.1e}"
    )
