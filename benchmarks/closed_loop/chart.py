"""The gold win rate over rounds: a line for each seed with the interval over prompts, and their mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from benchmarks.drawing import COLOURS, save, style

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write an SVG. The same rows give the same bytes."""
    with style():
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        panel = figure.subplots()
        seeds = sorted({row["seed"] for row in rows})
        for place, seed in enumerate(seeds):
            own = sorted((row for row in rows if row["seed"] == seed), key=lambda row: row["round"])
            numbers = [0, *(row["round"] for row in own)]
            colour = COLOURS[place % len(COLOURS)]
            panel.plot(numbers, [0.5, *(row["win_rate"] for row in own)], color=colour, marker="o", markersize=3)
            low, high = ([0.5, *(row[name] for row in own)] for name in ("win_rate_low", "win_rate_high"))
            panel.fill_between(numbers, low, high, color=colour, alpha=0.15, linewidth=0)
            panel.plot([], [], color=colour, marker="o", markersize=3, label=f"seed {seed}")
        last = max((row["round"] for row in rows), default=0)
        means = [fmean(row["win_rate"] for row in rows if row["round"] == number) for number in range(1, last + 1)]
        panel.plot(range(last + 1), [0.5, *means], color="#333333", linewidth=2, label="mean")
        panel.axhline(0.5, color="#cccccc", linewidth=0.8, zorder=0)
        panel.set_xticks(range(last + 1))
        panel.set_xlabel("round")
        panel.set_ylabel("gold win rate against the SFT model")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
        save(figure, path)
