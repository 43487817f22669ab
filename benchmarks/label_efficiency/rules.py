"""Acquisition rules: which tasks of a pool are labeled next.

Every rule is given the heads' scores of the pool's tasks, their hidden states, and those of the labeled tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_core.modeling import heads

EPS = 1e-12


@dataclass(frozen=True)
class Pool:
    """Of each task that waits: `states` [responses, width] and the ensemble's `scores` [responses, heads].

    labeled: the states of the tasks that have a judgment.
    """

    states: list[Tensor]
    scores: list[Tensor]
    labeled: list[Tensor]


Rule = Callable[[Pool, int, np.random.Generator], list[int]]
"""(pool, how many, generator) -> places in the pool."""


def random_order(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    return [int(place) for place in generator.permutation(len(pool.states))[:count]]


def disagreement(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    """The product's own: deviation of the heads' differences of scores, mean over a task's pairs."""
    return _largest([heads.disagreement(scores) for scores in pool.scores], count)


def uncertainty(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    """Entropy of the mean head's preference, mean over pairs (Lewis and Gale 1994, cmp-lg/9407020)."""
    return _largest([float(_entropy(_preferences(scores).mean(-1)).mean()) for scores in pool.scores], count)


def information(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    """Expected information on the heads of each pair's outcome, mean over pairs (BALD: Houlsby et al. 2011, 1112.5745,
    equation 2)."""
    gains = []
    for scores in pool.scores:
        preferences = _preferences(scores)
        gains.append(float((_entropy(preferences.mean(-1)) - _entropy(preferences).mean(-1)).mean()))
    return _largest(gains, count)


def diversity(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    """Farthest first from everything labeled, by the mean state of a task (k-center greedy: Sener and Savarese 2018,
    1708.00489, algorithm 1)."""
    waiting, known = (np.stack([states.mean(0).numpy() for states in side]) for side in (pool.states, pool.labeled))
    nearest = _squared_distances(waiting, known).min(1)
    chosen: list[int] = []
    for _ in range(min(count, len(waiting))):
        place = int(nearest.argmax())
        chosen.append(place)
        nearest = np.minimum(nearest, _squared_distances(waiting, waiting[[place]])[:, 0])
        nearest[place] = -1.0
    return chosen


def gradients(pool: Pool, count: int, generator: np.random.Generator) -> list[int]:
    """k-means++ on the gradients that the mean head's own guesses would cause (BADGE: Ash et al. 2020, 1906.03671,
    algorithm 1): uncertain tasks that differ from each other."""
    points = np.stack([_gradient(states, scores) for states, scores in zip(pool.states, pool.scores, strict=True)])
    chosen = [int(np.square(points).sum(1).argmax())]
    nearest = _squared_distances(points, points[chosen])[:, 0]
    while len(chosen) < min(count, len(points)):
        total = nearest.sum()
        chances = nearest / total if total > 0 else _unchosen(len(points), chosen)
        place = int(generator.choice(len(points), p=chances))
        chosen.append(place)
        nearest = np.minimum(nearest, _squared_distances(points, points[[place]])[:, 0])
        nearest[chosen] = 0.0
    return chosen


RULES: dict[str, Rule] = {
    "random": random_order,
    "disagreement": disagreement,
    "uncertainty": uncertainty,
    "information": information,
    "diversity": diversity,
    "gradients": gradients,
}


def _largest(values: Sequence[float], count: int) -> list[int]:
    return [int(place) for place in np.argsort(-np.array(values), kind="stable")[:count]]


def _preferences(scores: Tensor) -> Tensor:
    """Each head's probability that the first response of a pair is better: [responses, heads] -> [pairs, heads]."""
    first, second = torch.triu_indices(len(scores), len(scores), offset=1)
    return torch.sigmoid(scores[first] - scores[second])


def _entropy(chance: Tensor) -> Tensor:
    """Of a coin, in nats; any shape."""
    chance = chance.clamp(EPS, 1 - EPS)
    return -(chance * chance.log() + (1 - chance) * (1 - chance).log())


def _gradient(states: Tensor, scores: Tensor) -> NDArray[np.float64]:
    """Of the head, by the preferences that it thinks more likely, mean over pairs: [width]"""
    first, second = torch.triu_indices(len(scores), len(scores), offset=1)
    differences = states[first] - states[second]
    preferred = torch.sigmoid((scores[first] - scores[second]).mean(-1))
    guess = (preferred > 0.5).to(preferred)
    gradient: NDArray[np.float64] = ((preferred - guess).unsqueeze(-1) * differences).mean(0).numpy()
    return gradient


def _squared_distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, width], [m, width] -> [n, m]"""
    products = points @ centres.T
    found = np.square(points).sum(1)[:, None] + np.square(centres).sum(1)[None] - 2 * products
    return np.maximum(found, 0.0)


def _unchosen(count: int, chosen: Sequence[int]) -> NDArray[np.float64]:
    chances = np.ones(count)
    chances[list(chosen)] = 0.0
    return chances / chances.sum()
