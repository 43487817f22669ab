"""Labelers from 10 to 10,000 at their busiest hour, on today's machines and with remedies."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean, quantiles

from benchmarks.scale import capacity, workload
from benchmarks.scale.service_times import ASSUMED, JOB_BATCH_MS, POSTGRESQL, Costs
from benchmarks.scale.simulation import Simulation
from benchmarks.scale.site import Cores, Deployment, Site

LABELERS = (10, 30, 100, 300, 1000, 3000, 10_000)
SUBMITS = 3000
WARM_UP, SHORTEST, LONGEST = 150.0, 120.0, 15_000.0
"""Seconds of simulated time."""
CROWDED = 0.7

ONE_MACHINE = Deployment("one machine of 2 cores", is_one_machine=True)
APART = Deployment("a web host of 2 cores, a database of 8")


def remedied(costs: Costs, active: float, databases: int = 1) -> Deployment:
    """What one of so many databases serves: web hosts by demand, a pooler, a replica for managers' pages."""
    share = active / databases
    cores = capacity.database_cores(costs, share)
    return Deployment(
        "with remedies",
        web_hosts=capacity.web_hosts(costs, share),
        database_cores=cores,
        pool=max(8, 2 * cores),
        has_replica=True,
    )


@dataclass(frozen=True)
class Outcome:
    """Of one deployment with so many labelers, `active` of them at work. Milliseconds; rate in judgments per second."""

    deployment: str
    labelers: int
    active: int
    median: float
    p95: float
    rate: float
    wanted_rate: float
    loads: dict[str, float]

    @property
    def crowded(self) -> list[str]:
        """What is used for more than 70%, the most used first."""
        found = [name for name, load in self.loads.items() if load > CROWDED]
        return sorted(found, key=lambda name: -self.loads[name])


def simulate(deployment: Deployment, costs: Costs, labelers: int, active: int, seed: int = 1) -> Outcome:
    chance = random.Random(seed)
    simulation = Simulation()
    site = Site(simulation, deployment, costs, statements=POSTGRESQL.statements, seed=seed)
    times: list[float] = []
    for number in range(active):
        # Connections go to the web process with the fewest.
        web = site.processes[number % len(site.processes)]
        simulation.start(workload.labeler(site, web, times, chance))
    for number in range(round(active * ASSUMED.managers_per_labeler)):
        simulation.start(workload.manager(site, site.processes[number % len(site.processes)], chance))
    wanted = capacity.judgments_per_second(active)
    # Half of a job's time is its own Python, on the workers' machine where there is one.
    in_database = capacity.jobs_per_judgment() / 1000 * wanted * (1.0 if deployment.is_one_machine else 0.5)
    simulation.start(workload.job(site, in_database, JOB_BATCH_MS, chance))
    # Where the site doesn't keep up, a judgment takes as long as those of all labelers, one after the other.
    python, sql = capacity.work_per_judgment(costs)
    work = python + (sql if deployment.is_one_machine else 0.0)
    cycle = active * work * costs.slowdown / 1000 / (deployment.web_hosts * deployment.web_cores)
    warm_up = max(WARM_UP, 2 * cycle)
    simulation.run(warm_up)
    times.clear()
    flushed = site.wal.writes
    for resource in simulation.resources:
        resource.start_counting()
    length = min(LONGEST, max(SHORTEST, 2 * cycle, SUBMITS / wanted))
    simulation.run(warm_up + length)
    cuts = quantiles(times, n=20, method="inclusive")
    rate = len(times) / length
    loads = {name: fmean(loads) for name, loads in _by_name(site).items()}
    loads["commits"] = (site.wal.writes - flushed) * site.wal.flush / length
    loads |= capacity.other_loads(deployment, POSTGRESQL, rate)
    return Outcome(deployment.name, labelers, active, 1000 * cuts[9], 1000 * cuts[18], rate, wanted, loads)


def _by_name(site: Site) -> dict[str, list[float]]:
    """Utilisations of the cores, threads and connections."""
    names = {"web": "web cores", "database": "database cores", "replica": "replica cores", "threads": "web threads"}
    names |= {"pool": "connections of the pooler", "interpreter": "web interpreters"}
    found: dict[str, list[float]] = {}
    for resource in site.simulation.resources:
        name = names[resource.name]
        if site.deployment.is_one_machine and isinstance(resource, Cores):
            name = "cores"
        found.setdefault(name, []).append(resource.utilisation)
    return found


def sweep(costs: Costs, labelers: tuple[int, ...] = LABELERS) -> Iterator[Outcome]:
    share = max(workload.day())
    for number in labelers:
        active = max(1, round(number * share))
        yield simulate(ONE_MACHINE, costs, number, active)
        yield simulate(APART, costs, number, active)
        yield simulate(remedied(costs, active), costs, number, active)


def in_groups(costs: Costs, labelers: int, databases: int) -> Outcome:
    """One of so many databases, each with projects and web hosts of its own."""
    active = round(labelers * max(workload.day()) / databases)
    outcome = simulate(remedied(costs, active), costs, labelers, active)
    return replace(outcome, deployment=f"one of {databases} databases")


def most_labelers(deployment: Deployment, costs: Costs, most: int = 20_000) -> int:
    """The most labelers, to within a tenth, with whom nothing simulated is used for more than 70%."""
    share = max(workload.day())
    low, high = 1.0, float(most)
    while high / low > 1.1:
        middle = (low * high) ** 0.5
        crowded = simulate(deployment, costs, round(middle), max(1, round(middle * share))).crowded
        low, high = (low, middle) if crowded else (middle, high)
    return round(low)
