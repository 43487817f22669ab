"""95% confidence intervals of proportions and means, by a bootstrap over prompts.

The pairs of one prompt share responses, and its judgments share the prompt: a bootstrap over pairs would be too narrow.
With few prompts, or where all outcomes are equal, the bootstrap is uninformative; then the interval is Jeffreys'
(Brown, Cai and DasGupta 2001) for as many independent trials as there are prompts, which is rather too wide.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 1000
MIN_RESAMPLED_PROMPTS = 10
"""Fewer prompts than this get Jeffreys' interval."""
SMALL = 30
"""A figure from fewer prompts than this is marked as unreliable."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval over `count` pairs (or judgments) of `prompts` prompts; all None without any."""

    value: float | None
    low: float | None
    high: float | None
    count: int
    prompts: int

    @property
    def is_small(self) -> bool:
        return self.prompts < SMALL

    def figures(self, *, name: str = "accuracy", counted: str = "pairs") -> dict[str, Any]:
        """As a part of the report."""
        return {
            name: self.value,
            "low": self.low,
            "high": self.high,
            counted: self.count,
            "prompts": self.prompts,
            "small": self.is_small,
        }


def estimate_mean(
    outcomes: NDArray[np.floating[Any]], prompts: NDArray[np.integer[Any]], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Mean of `outcomes` (N,), each within `bounds`, with its interval; `prompts` (N,): number of each one's prompt."""
    if not len(outcomes):
        return Estimate(None, None, None, 0, 0)
    _, cluster = np.unique(prompts, return_inverse=True)
    totals = np.bincount(cluster).astype(np.float64)
    sums = np.bincount(cluster, weights=outcomes).astype(np.float64)
    mean = float(sums.sum() / totals.sum())
    smallest, greatest = bounds
    if len(sums) < MIN_RESAMPLED_PROMPTS or mean in bounds:
        part = (mean - smallest) / (greatest - smallest)
        low, high = (smallest + (greatest - smallest) * end for end in jeffreys_interval(part, trials=len(sums)))
    else:
        low, high = bootstrap_interval(sums, totals)
    return Estimate(mean, low, high, len(outcomes), len(sums))


def bootstrap_interval(sums: NDArray[np.float64], totals: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval of sum(sums) / sum(totals), bootstrap over clusters, fixed seed: (clusters,) each."""
    with warnings.catch_warnings():
        # With equal clusters scipy warns of a degenerate distribution, whose interval is that one value.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (sums, totals),
            lambda hits, counts, axis: hits.sum(axis=axis) / counts.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=100,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return float(found.low), float(found.high)


def jeffreys_interval(part: float, *, trials: int) -> tuple[float, float]:
    """Jeffreys' interval of a proportion: quantiles of Beta(k + 1/2, n - k + 1/2), closed at 0 and 1."""
    hits = part * trials
    low, high = stats.beta.interval(0.95, hits + 0.5, trials - hits + 0.5)
    return (0.0 if part == 0 else float(low)), (1.0 if part == 1 else float(high))
