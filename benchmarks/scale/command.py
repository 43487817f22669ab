"""Hone with many labelers and tasks, by simulation: `python -m benchmarks scale [--machine slow|fast]`.

Labelers from 10 to 10,000 over a day in three time zones, at their busiest hour, on one machine, on a web host with a
database host, and on as many web hosts as they need. Prints the time of a submit, what is used for more than 70%, how
far the simulation is from what was measured, what `--tasks` tasks take, and the cost of a month. docs/scale.md has the
figures and says what is measured and what is assumed. `--plots FOLDER` writes scale.svg and scale-day.svg. `--measure`
measures instead what a task and a judgment take on PostgreSQL, of `--tasks` tasks and `--submits` submits.
The last line is one JSON object: {"validation": [...], "sweep": [...], "capacity": {...}, "month": {...}}.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.scale import capacity, plots, scenarios, storage, validation, workload
from benchmarks.scale.capacity import Fleet
from benchmarks.scale.scenarios import Outcome
from benchmarks.scale.service_times import ASSUMED, COUNT_REST, MACHINES, POSTGRESQL, SQLITE, Costs

GROUPS = 4
"""Databases of the last simulation, each with the projects of a quarter of the labelers."""
PARAMETERS, ROUNDS, ROUND_TOKENS = 7e9, 4, 4e8
"""Of the worked example: a model of 7 billion parameters, four rounds a month, each with 200,000 rankings of four
responses of 500 tokens."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--machine", choices=sorted(MACHINES), default="slow", help="whose processor times are taken")
    parser.add_argument("--labelers", type=int, nargs="+", default=list(scenarios.LABELERS))
    parser.add_argument("--tasks", type=float, default=1e8)
    parser.add_argument("--plots", metavar="FOLDER")
    parser.add_argument("--measure", action="store_true", help="what a task and a judgment take on PostgreSQL")
    parser.add_argument("--submits", type=int, default=1500, help="of --measure")
    chosen = parser.parse_args(arguments)
    if min(chosen.tasks, chosen.submits, *chosen.labelers) < 1:
        parser.error("tasks, submits and labelers are 1 or more")
    if chosen.measure:
        tasks = int(min(chosen.tasks, 5000))
        if tasks < chosen.submits + 300:
            parser.error("there are too few tasks for so many submits: 5,000 at most, and 300 more than submits")
        print(json.dumps(storage.measure(tasks, chosen.submits)))
        return 0
    costs = MACHINES[chosen.machine]
    rows = validation.deviations()
    print(f"{'measured, predicted, with own processor time':<48}{'p50 ms':>26}{'p95 ms':>26}")
    for row in rows:
        name = f"{row['machine']}, {row['labelers']} labelers, pause {row['pause_s']} s"
        shown = "".join(
            f"{row[f'measured_{cut}_ms']:>10}{row[f'predicted_{cut}_ms']:>8}{row[f'own_{cut}_ms']:>8}"
            for cut in ("p50", "p95")
        )
        print(f"{name:<48}{shown}", flush=True)
    outcomes = []
    for outcome in scenarios.sweep(costs, tuple(chosen.labelers)):
        outcomes.append(outcome)
        _print(outcome)
    groups = scenarios.in_groups(costs, max(chosen.labelers), GROUPS)
    _print(groups)
    most = {
        deployment.name: scenarios.most_labelers(deployment, costs)
        for deployment in (scenarios.ONE_MACHINE, scenarios.APART)
    }
    print(f"most labelers with nothing over 70%: {most}")
    figures = _capacity(chosen.tasks, outcomes[-1].rate)
    fleet = example(costs, max(chosen.labelers), chosen.tasks)
    cost = {part: round(value) for part, value in capacity.month(fleet).items()}
    dollars = {f"$ a month, {part}": value for part, value in {**cost, "in all": sum(cost.values())}.items()}
    for name, value in {**figures, **asdict(fleet), **dollars}.items():
        print(f"{name:<48}{value:>16,.1f}")
    if chosen.plots:
        plots.draw_sweep(outcomes, Path(chosen.plots) / "scale.svg")
        plots.draw_day(workload.day(), max(chosen.labelers), Path(chosen.plots) / "scale-day.svg")
    print(
        json.dumps(
            {
                "machine": costs.name,
                "validation": rows,
                "sweep": [{**asdict(outcome), "crowded": outcome.crowded} for outcome in outcomes],
                "groups": asdict(groups),
                "most_labelers": most,
                "capacity": figures,
                "fleet": asdict(fleet),
                "month": cost,
            }
        )
    )
    return 0


def _print(outcome: Outcome) -> None:
    crowded = ", ".join(f"{name} {outcome.loads[name]:.0%}" for name in outcome.crowded) or "nothing over 70%"
    print(
        f"{outcome.labelers:>7} labelers, {outcome.deployment:<44}{outcome.median:>9.0f}{outcome.p95:>9.0f} ms"
        f"{outcome.rate:>8.2f} of {outcome.wanted_rate:.2f}/s  {crowded}",
        flush=True,
    )


def example(costs: Costs, labelers: int, tasks: float) -> Fleet:
    """The machines of so many labelers and of a year's tasks: everything judged, backups of 14 days beside it."""
    active = labelers * max(workload.day())
    databases = capacity.databases(POSTGRESQL, tasks)
    size = capacity.database_bytes(POSTGRESQL, tasks) / 1e9
    return Fleet(
        web_hosts=databases * capacity.web_hosts(costs, active / databases),
        databases=databases,
        database_cores=capacity.database_cores(costs, active / databases),
        replica_cores=4,
        worker_cores=8,
        disk_gb=1.5 * size,
        backup_gb=size + 14 * labelers * workload.judgments_per_day() * POSTGRESQL.wal_after_checkpoint / 2 / 1e9,
        gpu_hours=ROUNDS * capacity.gpu_hours(PARAMETERS, ROUND_TOKENS),
    )


def _capacity(tasks: float, rate: float) -> dict[str, float]:
    """rate: judgments per second."""
    judgments = tasks * ASSUMED.judgments_per_task
    size = capacity.database_bytes(POSTGRESQL, tasks)
    read, written = capacity.vacuum_hours(size)
    return {
        "SQLite, GB": capacity.database_bytes(SQLITE, tasks) / 1e9,
        "PostgreSQL, GB": size / 1e9,
        "days of all judgments by 10,000 labelers": judgments / workload.judgments_per_day() / 10_000,
        "backup or restore, hours": size / capacity.BACKUP_BYTES_PER_SECOND / 3600,
        "databases for that hour": capacity.databases(POSTGRESQL, tasks),
        "vacuum, hours, nothing changed": read,
        "vacuum, hours, every page changed": written,
        "counting one project, seconds": capacity.count_seconds(tasks),
        "hours between two counts": capacity.count_seconds(tasks) * (1 + COUNT_REST) / 3600,
        "tasks locked at a moment, 50 ms each": capacity.rows_locked(rate, 50.0),
        "export, hours of processor": capacity.export_hours(tasks),
        "export, GB of JSON lines": capacity.export_bytes(tasks) / 1e9,
    }
