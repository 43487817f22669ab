"""A test of a win rate that may be looked at after every judgment, and its confidence sequence. Pure; no database.

x_1, x_2, ... are the scores of prompts in [0, 1], a win 1, a tie one half, and S is the sum of the first n. For a win
rate m the mixture likelihood ratio with a Beta(a, a) prior (Robbins 1970; the mSPRT of Johari et al. 2017)

    M_n(m) = B(a + S, a + n - S) / (B(a, a) m^S (1 - m)^(n - S))

is an e-process when each score has the mean m given those before it: it begins at 1 and is expected not to grow, since
(p/m)^x ((1-p)/(1-m))^(1-x) <= x p/m + (1-x) (1-p)/(1-m) for x in [0, 1], whose expectation is 1. By Ville's inequality
it ever reaches 1/alpha with probability alpha at most, however often and whenever one looks. So

- "the win rate is not 0.5" is stated when M_n(0.5) >= 1/alpha, and is wrong with probability alpha at most;
- the m for which M_n(m) < 1/alpha are an interval that holds the true win rate at all n at once with probability
  1 - alpha at least.

M_n depends on n and S alone: a judgment that is revised is counted as it is now. The prior's standard deviation is 0.1:
the test ends earliest for win rates of about 0.4 and 0.6.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

PRIOR = 12.0
"""a of the Beta(a, a) prior; its variance is 1 / (4 (2a + 1)) = 0.1 squared."""
STEPS = 60


class Verdict(StrEnum):
    """What a test states of two versions."""

    FIRST = "first"
    SECOND = "second"
    EQUAL = "equal"
    OPEN = "open"


def log_e_value(scores: float, count: int, rate: float = 0.5) -> float:
    """log M_n(rate) of `count` scores with the sum `scores`, for a rate between 0 and 1."""
    lost = count - scores
    mixture = _log_beta(PRIOR + scores, PRIOR + lost) - _log_beta(PRIOR, PRIOR)
    return mixture - scores * math.log(rate) - lost * math.log1p(-rate)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def confidence_sequence(scores: float, count: int, *, alpha: float) -> tuple[float, float]:
    """The win rates that are not rejected at this alpha; (0, 1) without scores."""
    if not count:
        return 0.0, 1.0
    mean, bound = scores / count, -math.log(alpha)

    def edge(outside: float) -> float:
        """By bisection between the mean, where M_n is least, and a bound of the win rate; log M_n is convex."""
        inside = mean
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            if 0 < middle < 1 and log_e_value(scores, count, middle) < bound:
                inside = middle
            else:
                outside = middle
        return inside

    return (edge(0.0) if mean > 0 else 0.0), (edge(1.0) if mean < 1 else 1.0)


@dataclass(frozen=True, kw_only=True)
class SequentialTest:
    """The test of one pair. alpha: its own part of the evaluation's, see `corrected`."""

    scores: float
    count: int
    alpha: float
    margin: float

    @property
    def e_value(self) -> float:
        """Evidence against a win rate of 0.5; 1 / alpha decides."""
        return math.exp(min(log_e_value(self.scores, self.count), 700.0))

    @property
    def interval(self) -> tuple[float, float]:
        return confidence_sequence(self.scores, self.count, alpha=self.alpha)

    @property
    def verdict(self) -> Verdict:
        """Better, worse, or equal within the margin; open as long as none of them can be stated."""
        if self.count and log_e_value(self.scores, self.count) >= -math.log(self.alpha):
            return Verdict.FIRST if 2 * self.scores > self.count else Verdict.SECOND
        low, high = self.interval
        if self.margin and 0.5 - self.margin <= low and high <= 0.5 + self.margin:
            return Verdict.EQUAL
        return Verdict.OPEN


def corrected(alpha: float, *, versions: int) -> float:
    """Alpha of one of the pairs of several versions, so that all statements together keep it (Bonferroni)."""
    return alpha / max(1, math.comb(versions, 2))
