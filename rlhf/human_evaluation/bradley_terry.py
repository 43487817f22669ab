"""Bradley-Terry ratings of versions on Elo's scale, with bootstrap intervals and a control for length. Pure.

A version i is preferred to j with probability 1 / (1 + exp(-(t_i - t_j))) (Bradley and Terry 1952), and a tie is half a
win for each. Ratings are Elo's: 1000 + 400 / ln 10 (t_i - t_anchor), so that 400 points are odds of ten to one, and the
anchor has 1000. A weak Gaussian prior (standard deviation 10, or 1737 points) keeps a version finite that won always.

Controlled for length: labelers like longer responses, so the preference has one more term, c z, where z is the
difference of the two lengths over their sum, divided by its root mean square over all comparisons (the style control of
the Chatbot Arena, with length alone). The ratings are then those of responses of equal length.

Intervals are percentiles over bootstrap samples of prompts, which are what was sampled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlhf.human_evaluation.comparisons import Comparison

ANCHOR_RATING = 1000.0
ELO = 400 / math.log(10)
PRIOR_SPREAD = 10.0
SAMPLES = 200
MOST_ROWS = 20_000
"""Comparisons that the length control looks at; of more, a random part."""
ITERATIONS, TOLERANCE, LONGEST_STEP = 100, 1e-9, 4.0


@dataclass(frozen=True, kw_only=True)
class Rating:
    """A version's rating with its 95% interval. The anchor's are all 1000."""

    version: int
    rating: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """ratings: the best first. length_effect: how much a response longer by one unit of z is preferred, in points, with
    its interval; None without the control. unconnected: versions that nothing compares with the anchor."""

    ratings: Sequence[Rating]
    anchor: int
    length_effect: tuple[float, float, float] | None = None
    unconnected: Sequence[int] = ()


def rate(
    comparisons: Sequence[Comparison], *, anchor: int, seed: int, control_length: bool = False, samples: int = SAMPLES
) -> Ratings:
    """Ratings of the versions that comparisons connect with the anchor, directly or by others."""
    connected = _connected(comparisons, anchor)
    others = {version for one in comparisons for version in (one.first, one.second)} - connected
    kept = [one for one in comparisons if one.first in connected]
    rng = np.random.default_rng(seed)
    if control_length and len(kept) > MOST_ROWS:
        kept = [kept[place] for place in sorted(rng.choice(len(kept), MOST_ROWS, replace=False))]
    versions = sorted(connected)
    data = _Data.of(kept, versions, control_length=control_length)
    fitted = data.fit(data.weight)
    drawn = np.stack([data.fit(data.resampled(rng), start=fitted) for _ in range(samples if kept else 0)] or [fitted])
    place = versions.index(anchor)
    points = ANCHOR_RATING + ELO * (fitted - fitted[place])
    spread = ANCHOR_RATING + ELO * (drawn - drawn[:, [place]])
    low, high = np.percentile(spread, [2.5, 97.5], axis=0)
    ratings = [
        Rating(version=version, rating=float(points[at]), low=float(low[at]), high=float(high[at]))
        for at, version in enumerate(versions)
    ]
    effect = None
    if control_length:
        effects = np.percentile(ELO * drawn[:, -1], [2.5, 97.5])
        effect = (float(ELO * fitted[-1]), float(effects[0]), float(effects[1]))
    return Ratings(
        ratings=sorted(ratings, key=lambda one: (-one.rating, one.version)),
        anchor=anchor,
        length_effect=effect,
        unconnected=sorted(others),
    )


def _connected(comparisons: Sequence[Comparison], anchor: int) -> set[int]:
    """The versions with a chain of comparisons to the anchor, and the anchor."""
    pairs = {(one.first, one.second) for one in comparisons}
    found, grew = {anchor}, True
    while grew:
        more = {version for pair in pairs if found & set(pair) for version in pair}
        grew = not more <= found
        found |= more
    return found


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Rows of a weighted logistic regression. design: (rows, versions), and one more column for length; prompt: the
    number of each row's prompt, from 0 on."""

    design: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    prompt: np.ndarray
    prompts: int

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], versions: Sequence[int], *, control_length: bool) -> "_Data":
        place = {version: number for number, version in enumerate(versions)}
        prompts = {key: number for number, key in enumerate(sorted({one.prompt for one in comparisons}))}
        table = np.array(
            [
                (
                    place[one.first],
                    place[one.second],
                    prompts[one.prompt],
                    one.score,
                    one.weight,
                    length_difference(one),
                )
                for one in comparisons
            ],
            dtype=np.float64,
        ).reshape(-1, 6)
        if not control_length:
            table = _merged(table)
        rows = np.arange(len(table))
        design = np.zeros((len(table), len(versions) + control_length))
        design[rows, table[:, 0].astype(np.int64)] = 1.0
        design[rows, table[:, 1].astype(np.int64)] = -1.0
        if control_length:
            scale = math.sqrt(float(np.average(table[:, 5] ** 2, weights=table[:, 4]))) if len(table) else 0.0
            design[:, -1] = table[:, 5] / scale if scale else 0.0
        return cls(
            design=design,
            score=table[:, 3],
            weight=table[:, 4],
            prompt=table[:, 2].astype(np.int64),
            prompts=len(prompts),
        )

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """The rows' weights in a bootstrap sample of the prompts."""
        times = rng.multinomial(self.prompts, np.full(self.prompts, 1 / self.prompts))
        weights: np.ndarray = self.weight * times[self.prompt]
        return weights

    def fit(self, weight: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """The posterior mode by Newton's method; the log-likelihood is concave, and a step is bounded."""
        size = self.design.shape[1]
        estimate = np.zeros(size) if start is None else start.copy()
        precision = np.full(size, PRIOR_SPREAD**-2)
        for _ in range(ITERATIONS):
            chance = 1 / (1 + np.exp(-np.clip(self.design @ estimate, -500, 500)))
            gradient = self.design.T @ (weight * (self.score - chance)) - precision * estimate
            curvature = (self.design.T * (weight * chance * (1 - chance))) @ self.design + np.diag(precision)
            step = np.linalg.solve(curvature, gradient).clip(-LONGEST_STEP, LONGEST_STEP)
            estimate += step
            if np.abs(step).max() < TOLERANCE:
                break
        return estimate


def length_difference(comparison: Comparison) -> float:
    """The difference of the lengths over their sum, from -1 to 1."""
    total = comparison.first_length + comparison.second_length
    return (comparison.first_length - comparison.second_length) / total if total else 0.0


def _merged(table: np.ndarray) -> np.ndarray:
    """One row for each prompt and two versions: all that the likelihood needs where length has no part."""
    keys, inverse = np.unique(table[:, :3], axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    weight = np.bincount(inverse, table[:, 4], len(keys))
    score = np.bincount(inverse, table[:, 4] * table[:, 3], len(keys)) / np.where(weight, weight, 1.0)
    return np.column_stack([keys, score, weight, np.zeros(len(keys))])
