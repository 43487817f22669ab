"""Gold and proxy reward on the way of a run, and the law that they follow.

Rewards are counted in standard deviations of the SFT model's responses and from their mean: then gold and proxy share
an axis, as in Gao et al. 2022, and every curve begins at 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from benchmarks.gold_reward import stages
from benchmarks.gold_reward.golds import Gold


@dataclass(frozen=True)
class Point:
    """Means over the responses to the held-out prompts after so many episodes; `kl` is in nats a response."""

    episodes: int
    kl: float
    proxy: float
    gold: float

    @property
    def distance(self) -> float:
        """sqrt(KL); an estimate below 0 is one of 0."""
        return math.sqrt(max(self.kl, 0.0))


@dataclass(frozen=True)
class Fit:
    """R(d) = d (alpha - beta ln d), the law of reinforcement learning (Gao et al. 2022, section 1), d = sqrt(KL)."""

    alpha: float
    beta: float

    def __call__(self, distance: float) -> float:
        return distance * (self.alpha - self.beta * math.log(distance)) if distance > 0 else 0.0

    @property
    def peak(self) -> float | None:
        """The distance beyond which more optimisation makes things worse, where there is one."""
        return math.exp(self.alpha / self.beta - 1) if self.beta > 0 else None


def measured(run: Path, gold: Gold) -> list[Point]:
    """The points of a run, from the responses to held-out prompts that it left in samples.jsonl."""
    rows = [row for row in stages.read(run / "samples.jsonl") if row["held_out"]]
    asked = [{"id": row["id"], "prompt": row["prompt"], "responses": [{"text": row["response"]}]} for row in rows]
    golds = [score for (score,) in gold.scores(asked)]
    by_step: dict[int, list[tuple[Mapping[str, Any], float]]] = {}
    for row, score in zip(rows, golds, strict=True):
        by_step.setdefault(row["step"], []).append((row, score))
    first = by_step[min(by_step)]
    gold_mean, gold_deviation = _moments([score for _, score in first])
    proxy_mean, proxy_deviation = _moments([row["score"] for row, _ in first])
    return [
        Point(
            episodes=own[0][0]["episodes"],
            kl=fmean(row["logprob"] - row["reference_logprob"] for row, _ in own),
            proxy=(fmean(row["score"] for row, _ in own) - proxy_mean) / proxy_deviation,
            gold=(fmean(score for _, score in own) - gold_mean) / gold_deviation,
        )
        for _, own in sorted(by_step.items())
    ]


def fitted(points: Sequence[Point]) -> Fit | None:
    """The law by least squares on the gold reward; None of fewer than three distances above 0."""
    usable = [point for point in points if point.distance > 0]
    if len({point.distance for point in usable}) < 3:
        return None
    distance = np.array([point.distance for point in usable])
    features = np.stack([distance, -distance * np.log(distance)], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(features, np.array([point.gold for point in usable]), rcond=None)
    return Fit(float(alpha), float(beta))


def points_of(row: Mapping[str, Any]) -> list[Point]:
    return [Point(**point) for point in row["points"]]


def plain(points: Sequence[Point]) -> list[dict[str, Any]]:
    return [asdict(point) for point in points]


def _moments(scores: Sequence[float]) -> tuple[float, float]:
    return fmean(scores), pstdev(scores) or 1.0
