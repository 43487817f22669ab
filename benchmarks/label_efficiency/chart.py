"""Held-out accuracy over labels: a line for each rule, the mean over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from benchmarks.drawing import COLOURS, save, style


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write an SVG. The same rows give the same bytes."""
    with style():
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        panel = figure.subplots()
        for place, rule in enumerate(dict.fromkeys(row["rule"] for row in rows)):
            own = [row["accuracy"] for row in rows if row["rule"] == rule]
            means = [fmean(each) for each in zip(*own, strict=True)]
            colour = COLOURS[place % len(COLOURS)]
            panel.plot(rows[0]["sizes"], means, color=colour, marker="o", markersize=3, label=rule)
        panel.set_xlabel("labeled tasks")
        panel.set_ylabel("held-out pair accuracy")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
        save(figure, path)
