"""What doesn't need a simulation: bytes, background jobs, connections, vacuum, GPU hours and money, as formulas."""

from dataclasses import dataclass
from math import ceil

from benchmarks.scale import service_times as measured
from benchmarks.scale.service_times import ASSUMED, Costs, Storage
from benchmarks.scale.site import Deployment
from benchmarks.scale.workload import MEAN_THINK, PARTS

TARGET = 0.6
"""Utilisation that hosts are bought for: above 0.7 the waits of a web process grow faster than its load."""
BACKUP_BYTES_PER_SECOND = 200e6
BACKUP_HOURS = 1.0
VACUUM_READ, VACUUM_WRITE = 400e6, 40e6
"""Bytes per second that PostgreSQL's cost limits leave one autovacuum worker: 200 points for each 2 ms, a page of 8 kB
read costs 2 and one changed 20."""


@dataclass(frozen=True)
class Prices:
    """Of a month, in dollars. Assumptions: round figures of the order of large clouds' list prices, not an offer."""

    core: float = 30.0  # a virtual core with 4 GB of memory
    disk_gb: float = 0.12
    object_gb: float = 0.023
    gpu_hour: float = 3.0
    balancer: float = 25.0


PRICES = Prices()


def work_per_judgment(costs: Costs) -> tuple[float, float]:
    """(web, database): ms of processor of all requests of a judgment, the other core idle."""
    part = PARTS["submit"] + PARTS["ahead"] + ASSUMED.drafts * PARTS["draft"]
    return costs.web * part, costs.database * part


def jobs_per_judgment() -> float:
    """ms of processor of the jobs that keep sums and consensus."""
    return measured.FOLD_MS_PER_JUDGMENT + measured.CONSENSUS_MS_PER_TASK / ASSUMED.judgments_per_task


def judgments_per_second(active: float) -> float:
    """Of so many labelers at work, none of whom ever waits."""
    return active / MEAN_THINK


def web_hosts(costs: Costs, active: float) -> int:
    """Of two cores, for TARGET: their processor time is that with both cores busy."""
    web, _database = work_per_judgment(costs)
    seconds = web * costs.slowdown / 1000 * judgments_per_second(active)
    managers = active * ASSUMED.managers_per_labeler / ASSUMED.seconds_between_pages
    seconds += managers * measured.PAGE_MS * costs.web / measured.SLOW.web * costs.slowdown / 1000
    return max(1, ceil(seconds / (measured.PROCESSES * TARGET)))


def database_cores(costs: Costs, active: float) -> int:
    """A power of two, for TARGET, half of the jobs' time in statements."""
    _web, database = work_per_judgment(costs)
    work = (database + jobs_per_judgment() / 2) * costs.slowdown / 1000
    cores = work * judgments_per_second(active) / TARGET
    return max(2, 1 << max(0, ceil(cores) - 1).bit_length())


def other_loads(deployment: Deployment, storage: Storage, rate: float) -> dict[str, float]:
    """Utilisation of what has no queue in the simulation, at so many judgments per second."""
    consensus = rate / ASSUMED.judgments_per_task * measured.CONSENSUS_MS_PER_TASK
    return {
        "connections of PostgreSQL": deployment.connections / ASSUMED.max_connections,
        "WAL to the disk": rate * storage.wal_after_checkpoint / ASSUMED.wal_bytes_per_second,
        "reads from the disk": rate * ASSUMED.reads_per_judgment / ASSUMED.reads_per_second,
        "job that folds one project": rate * measured.FOLD_MS_PER_JUDGMENT / 1000,
        "consensus job": consensus / 1000 / measured.CONSENSUS_PART,
    }


def rows_locked(rate: float, transaction_ms: float) -> float:
    """Tasks that are locked at a moment, which a claim has to step over (Little's law)."""
    return rate * transaction_ms / 1000


def database_bytes(storage: Storage, tasks: float) -> float:
    """All tasks with all of their judgments."""
    return tasks * (storage.task + ASSUMED.judgments_per_task * storage.judgment)


def databases(storage: Storage, tasks: float) -> int:
    """So many that each is copied, or restored, within BACKUP_HOURS."""
    return ceil(database_bytes(storage, tasks) / (BACKUP_BYTES_PER_SECOND * BACKUP_HOURS * 3600))


def vacuum_hours(size: float) -> tuple[float, float]:
    """Of one pass over so many bytes: nothing changed, every page changed."""
    return size / VACUUM_READ / 3600, size / VACUUM_WRITE / 3600


def count_seconds(tasks: float) -> float:
    """Of the job that counts one project."""
    return measured.COUNT_SECONDS_PER_MILLION * tasks / 1e6


def export_hours(tasks: float) -> float:
    return tasks * ASSUMED.judgments_per_task * measured.EXPORT_MS_PER_RANKING / 3.6e6


def export_bytes(tasks: float) -> float:
    return tasks * ASSUMED.judgments_per_task * measured.EXPORT_BYTES_PER_RANKING


def gpu_hours(parameters: float, tokens: float, *, flops: float = 1e15, used: float = 0.3) -> float:
    """Of training on so many tokens: six operations for each parameter and token. Assumed, never measured here."""
    return 6 * parameters * tokens / (flops * used) / 3600


def reward_hours(rankings: float) -> float:
    """Of the reward model of 135M parameters on two cores."""
    return rankings / measured.REWARD_RANKINGS_PER_SECOND / 3600


@dataclass(frozen=True)
class Fleet:
    """web_hosts have two cores. worker_cores: for jobs and exports."""

    web_hosts: int
    databases: int
    database_cores: int
    replica_cores: int
    worker_cores: int
    disk_gb: float
    backup_gb: float
    gpu_hours: float


def month(fleet: Fleet, prices: Prices = PRICES) -> dict[str, float]:
    """Dollars a month by part: each database has its disk twice, for itself and its replica."""
    return {
        "web hosts": 2 * fleet.web_hosts * prices.core + prices.balancer,
        "databases and their disks": fleet.databases * fleet.database_cores * prices.core
        + fleet.disk_gb * prices.disk_gb,
        "replicas and their disks": fleet.databases * fleet.replica_cores * prices.core
        + fleet.disk_gb * prices.disk_gb,
        "workers, scheduler, broker": (fleet.worker_cores + 2) * prices.core,
        "backups, snapshots": fleet.backup_gb * prices.object_gb,
        "GPUs": fleet.gpu_hours * prices.gpu_hour,
    }
