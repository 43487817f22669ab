"""The simulation beside what was measured: labelers of `python -m benchmarks queue` on one machine of two cores.

Each labeler keeps a connection to one of the two web processes, and submits a task, with the next in the reply, after a
pause of `pause` seconds, more or less by half. The labelers' own processor time is spent on the same two cores.
"""

import random
from dataclasses import dataclass, replace
from statistics import quantiles

from benchmarks.scale.service_times import ASSUMED, FAST, SLOW, Costs, without_slowdown
from benchmarks.scale.simulation import Process, Simulation
from benchmarks.scale.site import Deployment, Site, WebProcess

LABELERS_MS = 1.0
"""Processor time of a labeler of the benchmark for one submit: its `labelers_cpu_ms`, one labeler, 30 November 2026."""
SUBMITS = 3000
ONE_MACHINE = Deployment("one machine", is_one_machine=True)


@dataclass(frozen=True)
class Point:
    """A row of docs/benchmarks/queue.md. web, database: processor time of a submit in that very sitting, in ms."""

    machine: Costs
    labelers: int
    pause: float
    median: float
    p95: float
    web: float
    database: float


POINTS = (
    Point(FAST, 1, 0, 15.8, 17.3, 10.5, 4.7),
    Point(FAST, 8, 0, 119.0, 177.0, 19.4, 8.4),
    Point(SLOW, 1, 0, 41.2, 49.0, 26.9, 12.5),
    Point(SLOW, 50, 5, 53.5, 161.3, 31.2, 9.5),
    Point(SLOW, 50, 2.5, 74.1, 232.9, 34.6, 9.5),
    Point(SLOW, 50, 1, 154.0, 457.1, 25.6, 11.2),
)
"""PostgreSQL. The database's processor time with a pause of 5 s was not measured; that of 2.5 s stands for it."""


def simulate(costs: Costs, labelers: int, pause: float, seed: int = 1) -> tuple[float, float]:
    """Median and 95th percentile of a submit with its next task, in ms."""
    chance = random.Random(seed)
    simulation = Simulation()
    # The benchmark's PostgreSQL doesn't wait for the disk.
    assumed = replace(ASSUMED, flush_ms=0.0)
    site = Site(simulation, ONE_MACHINE, costs, statements=0, assumed=assumed, seed=seed)
    times: list[float] = []
    for number in range(labelers):
        simulation.start(_labeler(site, site.processes[number % 2], pause, times, chance))
    warm_up = 20 * labelers
    while len(times) < SUBMITS + warm_up:
        simulation.run(simulation.now + 1)
    cuts = quantiles(times[warm_up:], n=20, method="inclusive")
    return 1000 * cuts[9], 1000 * cuts[18]


def _labeler(site: Site, web: WebProcess, pause: float, times: list[float], chance: random.Random) -> Process:
    while True:
        yield pause * chance.uniform(0.5, 1.5)
        yield from web.cores.work(LABELERS_MS / 1000)
        began = site.simulation.now
        yield from site.request(web, site.costs.web, site.costs.database, is_write=True)
        times.append(site.simulation.now - began)


def deviations() -> list[dict[str, float | str]]:
    """Predicted from one labeler's processor time, and from that of the sitting itself."""
    rows: list[dict[str, float | str]] = []
    for point in POINTS:
        predicted = simulate(point.machine, point.labelers, point.pause)
        own = simulate(without_slowdown(point.machine, point.web, point.database), point.labelers, point.pause)
        row: dict[str, float | str] = {
            "machine": point.machine.name,
            "labelers": point.labelers,
            "pause_s": point.pause,
            "measured_p50_ms": point.median,
            "measured_p95_ms": point.p95,
        }
        for name, (median, p95) in (("predicted", predicted), ("own", own)):
            row |= {f"{name}_p50_ms": round(median, 1), f"{name}_p95_ms": round(p95, 1)}
            row |= {
                f"{name}_p50_off": round(median / point.median - 1, 3),
                f"{name}_p95_off": round(p95 / point.p95 - 1, 3),
            }
        rows.append(row)
    return rows
