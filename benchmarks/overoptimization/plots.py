"""Gold and proxy reward against sqrt(KL), a panel for each proxy, as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.drawing import COLOURS, style
from benchmarks.overoptimization.curves import Fit, points_of

Row = Mapping[str, Any]
PANEL = 3.6  # inches
ENTRIES = 3
"""Entries of the legend that stand side by side above one panel."""


def draw(rows: Sequence[Row], fits: Mapping[int, Fit | None], *, folder: Path, gold: str) -> list[Path]:
    """Draw all runs with one gold reward; `fits` are by the proxy's size. The same rows give the same bytes of SVG."""
    sizes = sorted({row["size"] for row in rows})
    kl_coefs = sorted({row["kl_coef"] for row in rows})
    colours = {kl_coef: COLOURS[number % len(COLOURS)] for number, kl_coef in enumerate(kl_coefs)}
    with style():
        figure = Figure(figsize=(PANEL * len(sizes) + 0.4, PANEL + 0.6), layout="constrained")
        panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
        for panel, size in zip(panels, sizes, strict=True):
            own = [row for row in rows if row["size"] == size]
            _panel(panel, own, colours=colours, fit=fits.get(size))
            panel.set_title(f"{size} rankings, proxy right {own[0]['proxy_accuracy']:.0%}")
        panels[0].set_ylabel("reward, deviations of the SFT model's responses")
        figure.supxlabel("sqrt(KL to the SFT model), nats a response", fontsize=9)
        entries = _legend(colours)
        columns = min(len(entries), ENTRIES * len(sizes))
        figure.legend(handles=entries, loc="outside upper center", ncols=columns, frameon=False)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"overoptimization-{gold}.{kind}" for kind in ("svg", "png")]
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=150)
    return paths


def _panel(panel: Axes, rows: Sequence[Row], *, colours: Mapping[float, str], fit: Fit | None) -> None:
    farthest = 0.0
    for row in rows:
        points = sorted(points_of(row), key=lambda point: point.distance)
        distances = [point.distance for point in points]
        farthest = max([farthest, *distances])
        colour = colours[row["kl_coef"]]
        panel.plot(distances, [point.gold for point in points], color=colour, marker="o", markersize=3)
        panel.plot(distances, [point.proxy for point in points], color=colour, linestyle="--", linewidth=1)
    if fit is not None:
        distances = np.linspace(0, farthest, 100).tolist()
        panel.plot(distances, [fit(distance) for distance in distances], color="#888888", linewidth=2, alpha=0.6)
    panel.axhline(0, color="#cccccc", linewidth=0.8, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)


def _legend(colours: Mapping[float, str]) -> list[Line2D]:
    kl_coefs = [Line2D([], [], color=colour, label=f"kl_coef {value:g}") for value, colour in colours.items()]
    return [
        *kl_coefs,
        Line2D([], [], color="#333333", marker="o", markersize=3, label="gold"),
        Line2D([], [], color="#333333", linestyle="--", label="proxy"),
        Line2D([], [], color="#888888", linewidth=2, alpha=0.6, label="fit to gold"),
    ]
