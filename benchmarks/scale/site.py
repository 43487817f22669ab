"""Hone's machines as resources, and a request's way through them."""

import random
from dataclasses import dataclass
from math import ceil

from benchmarks.scale.service_times import ASSUMED, PROCESSES, THREADS, Assumptions, Costs
from benchmarks.scale.simulation import Process, Resource, Simulation

SLICE_MS = 7.0
"""A request's processor time is taken in slices of about so long, with statements in between: Python's threads take
turns every 5 ms, and statements are spread over a request."""


@dataclass(frozen=True)
class Deployment:
    """is_one_machine: the database shares the cores of the only web host. pool: connections of a pooler such as
    PgBouncer; 0: each thread has its own. has_replica: managers' pages read from a replica."""

    name: str
    web_hosts: int = 1
    web_cores: int = 2
    database_cores: int = 8
    is_one_machine: bool = False
    pool: int = 0
    has_replica: bool = False

    @property
    def connections(self) -> int:
        """That PostgreSQL sees."""
        return (self.pool or self.web_hosts * PROCESSES * THREADS) + ASSUMED.other_connections


class Cores(Resource):
    """Two virtual cores are the two threads of one core in most machines, and share what computes: with more than half
    of them busy the same work takes longer, up to `slowdown` times when all are."""

    def __init__(self, simulation: Simulation, name: str, capacity: int, slowdown: float) -> None:
        super().__init__(simulation, name, capacity)
        self.slowdown = slowdown

    def work(self, seconds: float) -> Process:
        yield self
        crowd = max(0.0, 2 * self.in_use / self.capacity - 1) if self.capacity > 1 else 0.0
        yield seconds * (1 + (self.slowdown - 1) * crowd)
        self.release()


class WriteAheadLog:
    """Commits that come while a write is under way share the next one (group commit)."""

    def __init__(self, simulation: Simulation, flush: float) -> None:
        self.simulation, self.flush = simulation, flush
        self.started = -flush
        self.writes = 0

    def commit(self) -> Process:
        now = self.simulation.now
        if now >= self.started:
            # Either nothing is being written, or what is began without this commit.
            self.started = max(now, self.started + self.flush)
            self.writes += 1
        yield self.started + self.flush - now


class WebProcess:
    """One interpreter: its threads wait for each other's Python, and not while they wait for the database."""

    def __init__(self, simulation: Simulation, cores: Cores) -> None:
        self.cores = cores
        self.threads = Resource(simulation, "threads", THREADS)
        self.interpreter = Resource(simulation, "interpreter", 1)


class Site:
    def __init__(
        self,
        simulation: Simulation,
        deployment: Deployment,
        costs: Costs,
        *,
        statements: float,
        assumed: Assumptions = ASSUMED,
        seed: int = 1,
    ) -> None:
        self.simulation, self.deployment, self.costs, self.assumed = simulation, deployment, costs, assumed
        self.statements, self.chance = statements, random.Random(seed)
        self.hosts = [
            Cores(simulation, "web", deployment.web_cores, costs.slowdown) for _ in range(deployment.web_hosts)
        ]
        self.database = (
            self.hosts[0]
            if deployment.is_one_machine
            else Cores(simulation, "database", deployment.database_cores, costs.slowdown)
        )
        self.replica = Cores(simulation, "replica", 4, costs.slowdown) if deployment.has_replica else self.database
        self.pool = Resource(simulation, "pool", deployment.pool) if deployment.pool else None
        self.wal = WriteAheadLog(simulation, assumed.flush_ms / 1000)
        self.processes = [WebProcess(simulation, host) for host in self.hosts for _ in range(PROCESSES)]
        self.round_trip = 0.0 if deployment.is_one_machine else assumed.round_trip_ms / 1000

    def request(
        self, web: WebProcess, web_ms: float, database_ms: float, *, is_write: bool, part: float = 1.0
    ) -> Process:
        """part: how many of a submit's statements it makes."""
        spread = self.chance.lognormvariate(0.0, self.costs.spread)
        slices = max(1, ceil(web_ms / SLICE_MS))
        python, sql = (ms * spread / slices / 1000 for ms in (web_ms, database_ms))
        travel = self.round_trip * self.statements * part / slices
        cores = self.database if is_write else self.replica
        yield web.threads
        for number in range(slices):
            yield web.interpreter
            yield from web.cores.work(python)
            web.interpreter.release()
            # The first statements, session and membership, come before the transaction.
            if self.pool is not None and number == min(1, slices - 1):
                yield self.pool
            if travel:
                yield travel
            yield from cores.work(sql)
        if is_write:
            yield from self.wal.commit()
        if self.pool is not None:
            self.pool.release()
        web.threads.release()
