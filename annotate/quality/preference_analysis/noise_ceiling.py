"""How often two people differ, and what accuracy that leaves to any model. Pure; no database.

Let p be the share of labelers who prefer the first response of a pair. Two of them, drawn independently, agree with
probability p^2 + (1 - p)^2 = (1 + x^2) / 2 with x = |2p - 1|. No model predicts one labeler's preference more often
than by naming what most prefer: with probability max(p, 1 - p) = (1 + x) / 2. Over pairs of all kinds, with a the mean
agreement, E[x^2] = 2a - 1, and since x^2 <= x and E[x] <= sqrt(E[x^2]) (Jensen),

    a  <=  best accuracy possible  <=  (1 + sqrt(2a - 1)) / 2.

The upper end is reached when every pair is as hard as every other, the lower one when some pairs are clear to everybody
and the others a coin toss.
"""

import math
from dataclasses import dataclass
from typing import Self

from annotate.quality.intervals import Estimate, Share


@dataclass(frozen=True, slots=True)
class NoiseCeiling:
    """agreement: of two labelers on pairs that neither tied. least, most: bounds of the best accuracy possible."""

    agreement: Share
    least: Estimate
    most: Estimate

    @classmethod
    def of(cls, agreement: Share) -> Self:
        """With the interval of the agreement carried through both bounds, which grow with it."""
        points = (agreement.rate, agreement.low, agreement.high)
        return cls(
            agreement=agreement,
            least=Estimate(*(None if point is None else max(point, 0.5) for point in points)),
            most=Estimate(*(None if point is None else _most(point) for point in points)),
        )

    @property
    def differing(self) -> Estimate:
        """How often two labelers differ."""
        share = self.agreement
        if share.rate is None or share.low is None or share.high is None:
            return Estimate(None)
        return Estimate(1 - share.rate, 1 - share.high, 1 - share.low)


def _most(agreement: float) -> float:
    return (1 + math.sqrt(max(0.0, 2 * agreement - 1))) / 2
