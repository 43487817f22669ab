"""Dawid-Skene: categories of items out of several labelers' votes, and each labeler's confusion matrix. Pure.

    p_j = P(category j)            pi^k_jl = P(labeler k says l | the category is j)

A. P. Dawid and A. M. Skene (1979), Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Category = TypeVar("Category", bound=Hashable)
SMOOTHING = 1.0
"""Votes added to each row of a confusion matrix: 3/4 of them on the diagonal, the rest over the other categories."""
DIAGONAL = 0.75
ITERATIONS = 200
TOLERANCE = 1e-7


@dataclass(frozen=True, kw_only=True)
class DawidSkene(Generic[Category]):
    """What was learned of the categories and the labelers.

    priors: (J,). confusion: {labeler: (J, J)}, a row for each true category. typical: the matrix of a labeler of whom
    nothing was learned, pooled over all.
    """

    categories: tuple[Category, ...]
    priors: np.ndarray
    confusion: Mapping[int, np.ndarray]
    typical: np.ndarray

    def posterior(self, votes: Mapping[int, Category]) -> np.ndarray:
        """P(category | votes), equation 2.5 of the paper: proportional to p_j times the product of pi^k_jl; (J,)."""
        with np.errstate(divide="ignore"):
            log_probability = np.log(self.priors)
            for labeler, category in votes.items():
                if category in self.categories:
                    matrix = self.confusion.get(labeler, self.typical)
                    log_probability = log_probability + np.log(matrix[:, self.categories.index(category)])
        probability = np.exp(log_probability - log_probability.max())
        return probability / probability.sum()

    def label(self, votes: Mapping[int, Category]) -> tuple[Category, float]:
        """The most probable category and its probability."""
        posterior = self.posterior(votes)
        best = int(posterior.argmax())
        return self.categories[best], float(posterior[best])


def estimate(
    items: Sequence[Mapping[int, Category]], *, categories: Iterable[Category] = (), smoothing: float = SMOOTHING
) -> DawidSkene[Category]:
    """Fit by EM to the votes of several items, {labeler: category} each; it begins with the shares of the votes.

    `smoothing` 0 is the paper's maximum likelihood; above it the estimate is a posterior mode, finite and away from 0
    for a labeler with few votes.
    """
    names = tuple(dict.fromkeys([*categories, *sorted({vote for item in items for vote in item.values()}, key=repr)]))
    if not names:
        raise ValueError("no category is known")
    labelers = sorted({labeler for item in items for labeler in item})
    flat = [
        (number, labelers.index(labeler), names.index(vote))
        for number, item in enumerate(items)
        for labeler, vote in item.items()
    ]
    item, labeler, said = np.array(flat, dtype=np.int64).reshape(-1, 3).T
    size = len(names)
    posterior = np.zeros((len(items), size))
    np.add.at(posterior, (item, said), 1.0)
    posterior = _normalised(posterior, empty=1 / size)
    prior_votes = smoothing * _diagonal(size)
    for _ in range(ITERATIONS):
        # M-step, equations 2.3 and 2.4.
        counts = np.zeros((len(labelers), size, size))
        for category in range(size):
            np.add.at(counts[:, category], (labeler, said), posterior[item, category])
        confusion = _normalised(counts + prior_votes, empty=1 / size)
        priors = (posterior.sum(0) + smoothing / size) / (len(items) + smoothing) if items else np.full(size, 1 / size)
        # E-step, equation 2.5.
        with np.errstate(divide="ignore"):
            log_posterior = np.tile(np.log(priors), (len(items), 1))
            np.add.at(log_posterior, item, np.log(confusion)[labeler, :, said])
        previous, posterior = (
            posterior,
            np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True, initial=-1e300)),
        )
        posterior = _normalised(posterior, empty=1 / size)
        if not items or np.abs(posterior - previous).max() < TOLERANCE:
            break
    return DawidSkene(
        categories=names,
        priors=priors,
        confusion={key: confusion[number] for number, key in enumerate(labelers)},
        typical=_normalised(counts.sum(0) + max(smoothing, 1e-9) * _diagonal(size), empty=1 / size),
    )


def _diagonal(size: int) -> np.ndarray:
    """A row-stochastic matrix that has most on its diagonal."""
    if size == 1:
        return np.ones((1, 1))
    other = (1 - DIAGONAL) / (size - 1)
    return np.full((size, size), other) + np.eye(size) * (DIAGONAL - other)


def _normalised(values: np.ndarray, *, empty: float) -> np.ndarray:
    """Divided by their sums over the last axis; `empty` where there is nothing to divide."""
    sums = values.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1.0), empty)
