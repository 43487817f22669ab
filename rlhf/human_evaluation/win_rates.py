"""Win rates with 95% intervals over prompts. Pure; no database.

The win rate of a version against another is the mean of the prompts' scores; a tie is one half. Prompts are the sample,
so the interval is that of a mean over prompts: normal, with the standard deviation of the prompts' scores, and with
fewer than ten prompts or none that differ Wilson's interval over as many trials as there are prompts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from annotate.quality.intervals import FEW_CLUSTERS, Z_95, wilson


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """wins, ties, losses: prompts with a score above, at and below one half. None without prompts."""

    rate: float | None
    low: float | None
    high: float | None
    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def prompts(self) -> int:
        return self.wins + self.ties + self.losses

    @classmethod
    def of(cls, scores: Iterable[float]) -> "WinRate":
        found = list(scores)
        if not found:
            return cls(rate=None, low=None, high=None)
        rate = fmean(found)
        low, high = _interval(rate, found)
        wins, losses = (sum(map(test, found)) for test in (_is_win, _is_loss))
        return cls(rate=rate, low=low, high=high, wins=wins, losses=losses, ties=len(found) - wins - losses)


def _is_win(score: float) -> bool:
    return score > 0.5 + 1e-9


def _is_loss(score: float) -> bool:
    return score < 0.5 - 1e-9


def _interval(rate: float, scores: Sequence[float]) -> tuple[float, float]:
    spread = stdev(scores) if len(scores) > 1 else 0.0
    if len(scores) < FEW_CLUSTERS or spread < 1e-9:
        return wilson(rate, len(scores))
    half = Z_95 * spread / math.sqrt(len(scores))
    return max(0.0, rate - half), min(1.0, rate + half)


def by_group(scores: Mapping[int, float], groups: Mapping[int, str]) -> dict[str, WinRate]:
    """{group: win rate over its prompts}, the largest group first; `groups`: {prompt: its group}."""
    found: dict[str, list[float]] = {}
    for prompt, score in scores.items():
        found.setdefault(groups[prompt], []).append(score)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: WinRate.of(members) for name, members in ordered}
