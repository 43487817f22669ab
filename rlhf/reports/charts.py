"""Charts as numbers for SVG that the server draws: no script is needed, and CSS gives them the page's colours.

Coordinates are texts with a point, whatever the reader's language writes decimals with.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.rendering.chart_figures import number

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 22, 12, 40


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of an axis."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """A dot with its interval: a vertical line from `low` to `high`."""

    x: str
    y: str
    low: str
    high: str
    radius: str


@dataclass(frozen=True, slots=True)
class Bar:
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often it is right against how sure it is; the diagonal from (0.5, 0.5) to (1, 1) is calibration."""

    points: Sequence[Point]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    diagonal: tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of the responses ranked best and of those ranked last, in the same bins."""

    best: Sequence[Bar]
    worst: Sequence[Bar]
    ticks: Sequence[Tick]
    floor: str


def _x(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def reliability(bins: Sequence[Mapping[str, Any]]) -> Reliability:
    most = max(row["pairs"] for row in bins)
    return Reliability(
        points=[
            Point(
                x=number(_x(2 * row["confidence"] - 1)),
                y=number(_y(row["right"])),
                low=number(_y(row["low"])),
                high=number(_y(row["high"])),
                # The area of a dot is proportional to its number of pairs.
                radius=number(2.5 + 5.5 * math.sqrt(row["pairs"] / most)),
            )
            for row in bins
        ],
        x_ticks=[Tick(number(_x(part / 5)), f"{50 + 10 * part}%") for part in range(6)],
        y_ticks=[Tick(number(_y(part / 4)), f"{25 * part}%") for part in range(5)],
        diagonal=(number(_x(0)), number(_y(0.5)), number(_x(1)), number(_y(1))),
    )


def histogram(found: Mapping[str, Any]) -> Histogram:
    edges = found["edges"]
    most = max([*found["best"], *found["worst"], 1])
    span = edges[-1] - edges[0]

    def bars(counts: Sequence[int]) -> list[Bar]:
        width = (WIDTH - LEFT - RIGHT) / len(counts)
        return [
            Bar(
                x=number(_x(place / len(counts))),
                y=number(_y(count / most)),
                width=number(width),
                height=number(_y(0) - _y(count / most)),
            )
            for place, count in enumerate(counts)
        ]

    ticks = [Tick(number(_x(part / 4)), _short(edges[0] + span * part / 4)) for part in range(5)]
    return Histogram(best=bars(found["best"]), worst=bars(found["worst"]), ticks=ticks, floor=number(_y(0)))


def _short(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
