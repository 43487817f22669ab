"""Plot of score over sqrt(KL) to the reference, which shows over-optimisation of the reward model.

Gao, Schulman and Hilton 2022 (2210.10760): the true reward rises with sqrt(KL) and then falls, while the reward that
is optimised keeps rising. The plot has the rollout iterations of a run and the evaluations on held-out prompts.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from models_core.contract.reports.metric_names import MEASURES, root
from models_core.contract.rows import json_lines

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
TICKS = 5
STYLE = (
    "svg{background:#fff;color:#222;font:13px sans-serif}text{fill:currentColor}"
    ".grid{stroke:#ddd}.iterations{fill:#6b7280;opacity:.55}.held{fill:none;stroke:#1d4ed8;stroke-width:2}.dot{fill:#1d4ed8}"
    "@media(prefers-color-scheme:dark){svg{background:#16181d;color:#e5e7eb}.grid{stroke:#363a43}"
    ".iterations{fill:#9ca3af}.held{stroke:#93b4ff}.dot{fill:#93b4ff}}"
)


class Point(NamedTuple):
    """sqrt(KL in nats) of a policy, and the mean score of its responses."""

    root_kl: float
    score: float


class RewardKLPoints(NamedTuple):
    iterations: list[Point]
    held_out: list[Point]


def read(metrics: Path) -> RewardKLPoints:
    """The points of a run's metrics.jsonl in the order of its steps; torn lines are skipped."""
    points: dict[str, list[Point]] = {name: [] for name in MEASURES}
    for row in json_lines.written(metrics):
        for name, (kl, score) in MEASURES.items():
            points[name] += _point(row, kl, score)
    return RewardKLPoints(**points)


def svg(curves: RewardKLPoints) -> str:
    """The plot: a dot a rollout iteration, a line through the evaluations. For light and dark pages."""
    points = [*curves.iterations, *curves.held_out]
    if not points:
        points = [Point(0.0, 0.0)]
    right = max(point.root_kl for point in points) or 1.0
    low, high = min(point.score for point in points), max(point.score for point in points)
    room = (high - low) * 0.05 or 0.5
    low, high = low - room, high + room

    def place(point: Point) -> tuple[float, float]:
        x = LEFT + point.root_kl / right * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - point.score) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    name = "Score over the square root of the KL"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}">',
        f"<style>{STYLE}</style>",
    ]
    for score in _ticks(low, high):
        _, y = place(Point(0.0, score))
        parts += [
            f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>',
            f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{score:g}</text>',
        ]
    for root_kl in _ticks(0.0, right):
        x, _ = place(Point(root_kl, low))
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{root_kl:g}</text>')
    parts += [f'<circle class="iterations" cx="{x}" cy="{y}" r="3"/>' for x, y in map(place, curves.iterations)]
    parts += _line([place(point) for point in curves.held_out])
    middle = (LEFT + WIDTH - RIGHT) / 2
    legend = '<tspan class="dot">line: held-out prompts</tspan>, dots: rollout iterations'
    parts += [
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">√KL to the reference (nats)</text>',
        f'<text x="{LEFT}" y="20">Score: {legend}</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """At most TICKS + 1 round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    smallest = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(smallest))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= smallest)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [float(f"{number * step:.10g}") for number in numbers]


def _line(points: Sequence[tuple[float, float]]) -> Iterable[str]:
    if not points:
        return []
    path = "L".join(f"{x} {y}" for x, y in points)
    return [f'<path class="held" d="M{path}"/>'] + [f'<circle class="dot" cx="{x}" cy="{y}" r="4"/>' for x, y in points]


def _point(row: object, kl: str, score: str) -> list[Point]:
    if not isinstance(row, dict):
        return []
    x, y = row.get(kl), row.get(score)
    if not (isinstance(x, int | float) and isinstance(y, int | float)):
        return []
    return [Point(root(x), float(y))] if math.isfinite(x + y) else []
