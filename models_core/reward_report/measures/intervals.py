"""95% intervals of shares and means, by resampling the prompts they come from.

The pairs of one prompt share responses, and its judgments share the prompt: resampling pairs would promise too much.
With few prompts, or where all or none are right, resampling says too little; then the interval is Jeffreys' (Brown, Cai
and DasGupta 2001) for as many independent trials as there are prompts: rather too wide than too narrow.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 1000
FEW_TO_RESAMPLE = 10
"""Fewer prompts than this are not resampled."""
SMALL = 30
"""A figure of fewer prompts than this is marked: it can be anything."""


@dataclass(frozen=True)
class Share:
    """A mean over `count` pairs (or judgments) of `prompts` prompts; None for all three where there is none."""

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


def share(
    outcomes: NDArray[np.floating[Any]], prompts: NDArray[np.integer[Any]], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Share:
    """The mean of `outcomes` [N], each within `bounds`, whose prompts have the numbers `prompts` [N]."""
    if not len(outcomes):
        return Share(None, None, None, 0, 0)
    _, cluster = np.unique(prompts, return_inverse=True)
    totals = np.bincount(cluster).astype(np.float64)
    sums = np.bincount(cluster, weights=outcomes).astype(np.float64)
    mean = float(sums.sum() / totals.sum())
    smallest, greatest = bounds
    if len(sums) < FEW_TO_RESAMPLE or mean in bounds:
        part = (mean - smallest) / (greatest - smallest)
        low, high = (smallest + (greatest - smallest) * end for end in jeffreys(part, trials=len(sums)))
    else:
        low, high = resampled(sums, totals)
    return Share(mean, low, high, len(outcomes), len(sums))


def resampled(sums: NDArray[np.float64], totals: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval of sum(sums) / sum(totals) under resampling of the clusters, with a fixed seed: [C] each."""
    with warnings.catch_warnings():
        # Every cluster alike: scipy warns of a degenerate distribution, whose interval is that one value.
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


def jeffreys(part: float, *, trials: int) -> tuple[float, float]:
    """Jeffreys' interval of a proportion: quantiles of Beta(k + 1/2, n - k + 1/2), closed at 0 and at 1."""
    hits = part * trials
    low, high = stats.beta.interval(0.95, hits + 0.5, trials - hits + 0.5)
    return (0.0 if part == 0 else float(low)), (1.0 if part == 1 else float(high))
