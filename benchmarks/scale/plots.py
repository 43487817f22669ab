"""Charts of the simulation: the time of a submit by the number of labelers, and the load over a day."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.drawing import COLOURS, save, style
from benchmarks.scale.scenarios import ONE_MACHINE, Outcome
from benchmarks.scale.workload import MEAN_THINK, STEP_MINUTES

GIVEN_UP = 30_000
"""Milliseconds after which a browser gives a submit up, and sends it again."""


def draw_sweep(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write an SVG: the times of a submit, and the busy cores. The same rows give the same bytes."""
    with style():
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        times, loads = figure.subplots(1, 2)
        names = list(dict.fromkeys(outcome.deployment for outcome in outcomes))
        for colour, name in zip(COLOURS, names, strict=False):
            own = [outcome for outcome in outcomes if outcome.deployment == name]
            people = [outcome.labelers for outcome in own]
            times.plot(people, [outcome.p95 for outcome in own], color=colour, marker="o", markersize=3, label=name)
            times.plot(people, [outcome.median for outcome in own], color=colour, linestyle=":", linewidth=1)
            busiest = "cores" if name == ONE_MACHINE.name else "web cores"
            loads.plot(
                people, [100 * outcome.loads[busiest] for outcome in own], color=colour, marker="o", markersize=3
            )
        times.axhline(GIVEN_UP, color="#cccccc", linewidth=0.8, zorder=0)
        times.annotate("browsers give up", (people[0], GIVEN_UP), fontsize=7, va="bottom")
        times.set_yscale("log")
        times.set_ylabel("submit, ms: p95, and median (dotted)")
        loads.axhline(70, color="#cccccc", linewidth=0.8, zorder=0)
        loads.set_ylabel("busy cores of the web hosts, %")
        times.legend(frameon=False, fontsize=7)
        for panel in (times, loads):
            panel.set_xscale("log")
            panel.set_xlabel("labelers")
            panel.spines[["top", "right"]].set_visible(False)
        save(figure, path)


def draw_day(day: Sequence[float], labelers: int, path: Path) -> None:
    """Write an SVG: judgments per second over a day in UTC."""
    with style():
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        panel = figure.subplots()
        hours = [step * STEP_MINUTES / 60 for step in range(len(day))]
        panel.plot(hours, [part * labelers / MEAN_THINK for part in day], color=COLOURS[0])
        panel.set_xlim(0, 24)
        panel.set_ylim(0)
        panel.set_xticks(range(0, 25, 4))
        panel.set_xlabel("hour, UTC")
        panel.set_ylabel(f"judgments/s of {labelers:,} labelers")
        panel.spines[["top", "right"]].set_visible(False)
        save(figure, path)
