"""Crowd-BT: strengths of responses and reliabilities of labelers. Pure; no database.

The strength s_i of each response of a task follows Bradley-Terry with ties (Davidson 1970, equation 2.2), written in
logarithms with d = s_i - s_j and the tie parameter t:

    P(i > j) = exp(d / 2) / Z     P(i = j) = exp(t) / Z     Z = exp(d / 2) + exp(-d / 2) + exp(t)

A labeler k follows the strengths with probability eta_k and says the reverse otherwise (Chen, Bennett, Collins-Thompson
and Horvitz 2013, Pairwise Ranking Aggregation in a Crowdsourced Setting, equation 4):

    P(k says i > j) = eta_k P(i > j) + (1 - eta_k) P(j > i)

eta_k is the reliability: 1 always follows, 1/2 orders at random, and below 1/2 is rather wrong than right. A tie says
nothing of eta. A ranking of m responses is broken into all its pairs, which is consistent for Plackett-Luce (Azari
Soufiani, Chen, Parkes and Xia 2013); each pair weighs 2 / m, so that the ranking counts as the m - 1 choices that it
consists of.

`estimate` maximises the likelihood of eta and t with the strengths integrated out, s ~ N(0, spread^2), and priors on
eta (Beta), t (normal) and the spread, which is the best of a few (SPREADS). Chen et al. maximise over the strengths
too; where each response has two or three judgments its strength then fits their noise, and every eta goes to 1 (Neyman
and Scott 1948). The integral is over the distance of one pair at a time, by Gauss-Hermite quadrature: exact for pairs,
a composite likelihood (Varin, Reid and Firth 2011) for longer rankings.

`strengths` are the posterior mode for known eta and t: the prior keeps the strength of a response that always wins
finite. Its EM iterates over who followed the strengths in which comparison, with a Newton step in each M-step.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from annotate.quality.aggregation.votes import Consensus, Judgments, Tiers

SPREADS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Standard deviations of the strengths of a task's responses that are tried: small where responses are much alike."""
TYPICAL_SPREAD, SPREAD_OF_SPREAD = 2.0, 0.5
"""Median and logarithmic deviation of the spread's log-normal prior."""
FOLLOWED, REVERSED = 8.0, 2.0
"""Comparisons that each labeler has by the prior: a reliability of 0.8 where nothing is known."""
TYPICAL = FOLLOWED / (FOLLOWED + REVERSED)
TIE_MEAN, TIE_SPREAD = -1.0, 2.0
ITERATIONS = 300
TOLERANCE = 1e-6
TIE_TOLERANCE = 1e-4
LONGEST_STEP = 2.0
NEGLIGIBLE = 0.05
"""A smaller distance is a tie: it makes a preference of at most 51.2 to 48.8."""
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


@dataclass(frozen=True, kw_only=True)
class CrowdBT:
    """What was learned of the labelers of a project.

    reliability: eta of each labeler who shared a pair with another one. comparisons: how many each was estimated from.
    tie: the parameter t. spread: the standard deviation of strengths within a task.
    """

    reliability: Mapping[int, float] = field(default_factory=dict)
    comparisons: Mapping[int, int] = field(default_factory=dict)
    tie: float = TIE_MEAN
    spread: float = TYPICAL_SPREAD

    @property
    def mean_reliability(self) -> float:
        """Of the labelers it was estimated for; the prior's where there are none."""
        return fmean(self.reliability.values()) if self.reliability else TYPICAL

    def of(self, labeler: int) -> float:
        return self.reliability.get(labeler, TYPICAL)

    def weight(self, labeler: int) -> float:
        """The weight of a labeler's judgments in a loss: 2 eta - 1, at least 0.

        The expectation of a label with symmetric noise is the true one's times this (Natarajan et al. 2013).
        """
        return max(0.0, 2 * self.of(labeler) - 1)


PLAIN = CrowdBT()
"""Nothing learned yet: every labeler is taken for typical."""


def estimate(tasks: Iterable[Judgments], *, heartbeat: Callable[[], None] = lambda: None) -> CrowdBT:
    """Reliabilities and the tie parameter, by EM, out of the pairs of responses that two or more labelers ordered.

    `heartbeat` is called in each iteration: thousands of long rankings take a minute.
    A pair with one vote says nothing of its labeler, and labelers who shared no pair are not in the result.
    """
    votes = _SharedVotes.of(tasks)
    if not len(votes.pair):
        return PLAIN
    best, model = -np.inf, PLAIN
    found = PLAIN
    for spread in SPREADS:
        # From the last spread's solution, which is near.
        density, found = votes.fitted(spread, start=found, heartbeat=heartbeat)
        if density > best:
            best, model = density, found
    return model


def strengths(tasks: Sequence[Judgments], model: CrowdBT = PLAIN) -> list[dict[int, float]]:
    """Strengths of the responses of each task, for labelers of known reliability; none where nothing is compared."""
    comparisons = _Comparisons.of(tasks)
    if not len(comparisons.first):
        return [{} for _ in tasks]
    state = _State.begin(comparisons, model)
    for _ in range(ITERATIONS):
        state = state.next(comparisons)
        if state.moved < TOLERANCE:
            break
    return [
        {response_id: float(state.strength[number, place]) for place, response_id in enumerate(responses)}
        for number, responses in enumerate(comparisons.responses)
    ]


def consensus(tasks: Sequence[Judgments], model: CrowdBT = PLAIN) -> list[Consensus]:
    """The order of each task's responses by strength.

    Two responses share a tier where a tie is the most probable outcome between them, or their strengths are equal. The
    confidence is that of a further labeler of the mean reliability.
    """
    return [_ordered(found, model) for found in strengths(tasks, model)]


def _ordered(strength: Mapping[int, float], model: CrowdBT) -> Consensus:
    tiers: list[list[int]] = []
    for response_id in sorted(strength, key=lambda key: (-round(strength[key], 6), key)):
        distance = strength[tiers[-1][0]] - strength[response_id] if tiers else 0.0
        if tiers and (distance / 2 < model.tie or distance < NEGLIGIBLE):
            tiers[-1].append(response_id)
        else:
            tiers.append([response_id])
    ordered: Tiers = tuple(tuple(sorted(tier)) for tier in tiers)
    rank = {response_id: number for number, tier in enumerate(ordered) for response_id in tier}
    agreeing = [
        agreement_probability(strength[i] - strength[j], rank[j] - rank[i], model) for i, j in combinations(strength, 2)
    ]
    return Consensus(ordered, fmean(agreeing)) if agreeing else Consensus((), 0.0)


def agreement_probability(distance: float, relation: int, model: CrowdBT) -> float:
    """Probability that a labeler of the mean reliability says of two responses what `relation` says.

    distance: s_i - s_j. relation: above 0 for i > j, below 0 for j > i, 0 for a tie.
    """
    first, second, tied = (float(part) for part in _outcomes(np.array(distance), model.tie))
    if relation == 0:
        return tied
    followed, reversed_ = (first, second) if relation > 0 else (second, first)
    return model.mean_reliability * followed + (1 - model.mean_reliability) * reversed_


def _outcomes(distance: np.ndarray, tie: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(i > j), P(j > i) and P(i = j), each of the shape of `distance`."""
    exponents = np.stack([distance / 2, -distance / 2, np.full_like(distance, tie)])
    parts = np.exp(exponents - exponents.max(axis=0))
    first, second, tied = parts / parts.sum(axis=0)
    return first, second, tied


@dataclass(frozen=True, kw_only=True)
class _SharedVotes:
    """Votes on pairs of responses that two or more labelers ordered, sorted by pair; pairs with the same votes are one.

    Arrays over votes: outcome is 1 where the first response is preferred, -1 the second, 0 a tie. starts: where each
    pair's votes begin. counted: comparisons of each labeler.
    """

    labelers: list[int]
    pair: np.ndarray
    labeler: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    starts: np.ndarray
    counted: Counter[int]

    @classmethod
    def of(cls, tasks: Iterable[Judgments]) -> "_SharedVotes":
        # Pairs with the same votes are one, of a larger weight: there are far fewer kinds of pairs than pairs.
        patterns: dict[tuple[tuple[int, int], ...], list[float]] = {}
        counted: Counter[int] = Counter()
        for task in tasks:
            pairs: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
            for labeler, ordering in sorted(task.items()):
                ranks = ordering.ranks()
                for first, second in combinations(sorted(ranks), 2):
                    outcome = (ranks[second] > ranks[first]) - (ranks[second] < ranks[first])
                    pairs.setdefault((first, second), []).append((labeler, outcome, 2 / len(ranks)))
            for votes in pairs.values():
                if len(votes) < 2:
                    continue
                # Which response is the first is of no meaning: the first strict vote is for it.
                sign = next((outcome for _, outcome, _ in votes if outcome), 1)
                pattern = tuple((labeler, sign * outcome) for labeler, outcome, _ in votes)
                weights = patterns.setdefault(pattern, [0.0] * len(votes))
                for number, (labeler, _, weight) in enumerate(votes):
                    weights[number] += weight
                    counted[labeler] += 1
        rows = [
            (number, labeler, outcome, weight)
            for number, pattern in enumerate(sorted(patterns))
            for (labeler, outcome), weight in zip(pattern, patterns[pattern], strict=True)
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        labelers, numbers = np.unique(table[:, 1].astype(np.int64), return_inverse=True)
        kinds = table[:, 0].astype(np.int64)
        return cls(
            labelers=labelers.tolist(),
            pair=kinds,
            labeler=numbers,
            outcome=table[:, 2].astype(np.int64),
            weight=table[:, 3],
            starts=np.flatnonzero(np.diff(kinds, prepend=-1)),
            counted=counted,
        )

    def fitted(self, spread: float, *, start: CrowdBT, heartbeat: Callable[[], None]) -> tuple[float, CrowdBT]:
        """The model of this spread, and the logarithm of its posterior density."""
        reliability, tie = np.array([start.of(labeler) for labeler in self.labelers]), start.tie
        for _ in range(ITERATIONS):
            heartbeat()
            density, new_reliability, new_tie = self.step(reliability, tie, spread=spread)
            done = np.abs(new_reliability - reliability).max() < TOLERANCE and abs(new_tie - tie) < TIE_TOLERANCE
            reliability, tie = new_reliability, new_tie
            if done:
                break
        etas = zip(self.labelers, reliability.tolist(), strict=True)
        return density, CrowdBT(reliability=dict(etas), comparisons=dict(self.counted), tie=tie, spread=spread)

    def step(self, reliability: np.ndarray, tie: float, *, spread: float) -> tuple[float, np.ndarray, float]:
        """One iteration of EM: (log density before it, reliabilities, tie parameter).

        Inner arrays are (votes, nodes) or (pairs, nodes). The distance of two responses is N(0, 2 spread^2).
        """
        first, second, tied = _outcomes(NODES * spread * 2**0.5, tie)
        follows = np.stack([tied, first, second])[self.outcome]  # outcome -1 takes the last row
        reverses = np.stack([tied, second, first])[self.outcome]
        eta = reliability[self.labeler][:, None]
        likelihood = eta * follows + (1 - eta) * reverses
        # E-step: the distance of each pair, and whether each vote followed it.
        log_posterior = np.add.reduceat(np.log(likelihood), self.starts) + np.log(NODE_WEIGHTS / NODE_WEIGHTS.sum())
        largest = log_posterior.max(axis=1, keepdims=True)
        posterior = np.exp(log_posterior - largest)
        marginal = posterior.sum(axis=1, keepdims=True)
        posterior /= marginal
        density = (self.weight[self.starts] * (np.log(marginal) + largest)[:, 0]).sum() + _log_prior(
            reliability, tie, spread
        )
        of_vote = posterior[self.pair]
        followed = (of_vote * eta * follows / likelihood).sum(axis=1)
        # M-step: eta in closed form, t by one Newton step.
        strict, size = np.where(self.outcome == 0, 0.0, self.weight), len(self.labelers)
        right = FOLLOWED + np.bincount(self.labeler, strict * followed, size)
        new = right / (FOLLOWED + REVERSED + np.bincount(self.labeler, strict, size))
        slope = (self.weight * ((self.outcome == 0) - of_vote @ tied)).sum() - (tie - TIE_MEAN) / TIE_SPREAD**2
        curvature = (self.weight * (of_vote @ (tied * (1 - tied)))).sum() + 1 / TIE_SPREAD**2
        return float(density), new, tie + float(np.clip(slope / curvature, -1, 1))


def _log_prior(reliability: np.ndarray, tie: float, spread: float) -> float:
    of_reliability = (FOLLOWED * np.log(reliability) + REVERSED * np.log(1 - reliability)).sum()
    of_tie = -((tie - TIE_MEAN) ** 2) / (2 * TIE_SPREAD**2)
    of_spread = -(np.log(spread / TYPICAL_SPREAD) ** 2) / (2 * SPREAD_OF_SPREAD**2)
    return float(of_reliability + of_tie + of_spread)


@dataclass(frozen=True, kw_only=True)
class _Comparisons:
    """All pairs of all orderings, the preferred one first. Arrays over comparisons, but for the first two."""

    responses: list[list[int]]
    labelers: list[int]
    task: np.ndarray
    first: np.ndarray
    second: np.ndarray
    labeler: np.ndarray
    tied: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, tasks: Sequence[Judgments]) -> "_Comparisons":
        labelers = sorted({labeler for task in tasks for labeler in task})
        number_of = {labeler: number for number, labeler in enumerate(labelers)}
        responses: list[list[int]] = []
        rows: list[tuple[float, ...]] = []
        for task, judgments in enumerate(tasks):
            ranked = sorted({key for ordering in judgments.values() if len(ordering) > 1 for key in ordering.ranks()})
            place = {response_id: number for number, response_id in enumerate(ranked)}
            responses.append(ranked)
            for labeler, ordering in sorted(judgments.items()):
                for pairs, tied in ((ordering.pairs(), False), (ordering.ties(), True)):
                    weight = 2 / max(2, len(ordering))
                    who = number_of[labeler]
                    rows += [(task, place[better], place[worse], who, tied, weight) for better, worse in pairs]
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        task_, first, second, labeler_ = table[:, :4].astype(np.int64).T
        return cls(
            responses=responses,
            labelers=labelers,
            task=task_,
            first=first,
            second=second,
            labeler=labeler_,
            tied=table[:, 4].astype(bool),
            weight=table[:, 5],
        )


@dataclass(frozen=True, kw_only=True)
class _State:
    """strength: (tasks, most responses), 0 where a task has fewer. reliability: (comparisons,). moved: last change."""

    strength: np.ndarray
    reliability: np.ndarray
    tie: float
    spread: float
    moved: float = np.inf

    @classmethod
    def begin(cls, comparisons: _Comparisons, model: CrowdBT) -> "_State":
        most = max(len(responses) for responses in comparisons.responses)
        return cls(
            strength=np.zeros((len(comparisons.responses), most)),
            reliability=np.array([model.of(labeler) for labeler in comparisons.labelers])[comparisons.labeler],
            tie=model.tie,
            spread=model.spread,
        )

    def next(self, data: _Comparisons) -> "_State":
        """One iteration of EM."""
        distance = self.strength[data.task, data.first] - self.strength[data.task, data.second]
        # E-step: probability that the labeler followed the strengths, eta P(i > j) / P(k says i > j).
        eta = self.reliability
        followed = np.where(data.tied, 0.5, eta / (eta + (1 - eta) * np.exp(-np.clip(distance, -500, 500))))
        # M-step.
        strength, moved = self._moved(data, distance, followed)
        return replace(self, strength=strength, moved=moved)

    def _moved(self, data: _Comparisons, distance: np.ndarray, followed: np.ndarray) -> tuple[np.ndarray, float]:
        """One Newton step of every task's strengths.

        The log-likelihood's first derivative by d is (followed - reversed - P(i > j) + P(j > i)) / 2, its second
        minus the variance of a variable that is 1/2, -1/2 or 0 with the outcomes' probabilities.
        """
        first, second, _ = _outcomes(distance, self.tie)
        slope = data.weight * ((2 * followed - 1) - (first - second)) / 2
        curvature = data.weight * ((first + second) - (first - second) ** 2) / 4
        tasks, most = self.strength.shape
        gradient = -self.strength / self.spread**2
        np.add.at(gradient, (data.task, data.first), slope)
        np.add.at(gradient, (data.task, data.second), -slope)
        hessian = np.tile(np.eye(most) / self.spread**2, (tasks, 1, 1))
        np.add.at(hessian, (data.task, data.first, data.first), curvature)
        np.add.at(hessian, (data.task, data.second, data.second), curvature)
        np.add.at(hessian, (data.task, data.first, data.second), -curvature)
        np.add.at(hessian, (data.task, data.second, data.first), -curvature)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0].clip(-LONGEST_STEP, LONGEST_STEP)
        return self.strength + step, float(np.abs(step).max())
