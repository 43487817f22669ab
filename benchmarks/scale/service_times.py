"""The measured figures that the simulation works with, each with its source, and what had to be assumed."""

from dataclasses import dataclass, replace

QUEUE = "docs/benchmarks/queue.md"


@dataclass(frozen=True)
class Costs:
    """Of one judgment on one kind of machine, in ms of processor while the other core is idle.

    web, database:  of a submit with the next task in its reply.
    slowdown:       how many times as much processor the same work takes while both cores are busy.
    spread:         standard deviation of the logarithm of a request's time, by one labeler's median and p95.
    """

    name: str
    source: str
    web: float
    database: float
    slowdown: float
    spread: float


# ln(49.0 / 41.2) / 1.645: one labeler at 1,000,000 tasks on PostgreSQL.
_SPREAD = 0.105

# (19.4 + 8.4) / (10.5 + 4.7): PostgreSQL, processor of a submit of eight labelers without a pause beside one labeler's.
_SLOWDOWN = 1.83

SLOW = Costs("slow", f"{QUEUE}, 30 November 2026, 1,000,000 tasks, 1 labeler", 26.9, 12.5, _SLOWDOWN, _SPREAD)
FAST = Costs("fast", f"{QUEUE}, 29 November 2026, 20,000 tasks, 1 labeler", 10.5, 4.7, _SLOWDOWN, _SPREAD)
MACHINES = {costs.name: costs for costs in (SLOW, FAST)}

# Requests besides, as parts of a submit with the next task. The browser has the task ahead on the screen already, so
# its submit brings a receipt alone: 15.7 and 20.0 ms beside 19.3 ms (PostgreSQL, 22 November 2026).
SUBMIT_PART, AHEAD_PART = 15.7 / 19.3, 20.0 / 19.3

# Of a draft: `python -m benchmarks scale --measure`, processor of the web process.
DRAFT_PART = 15.3 / 29.7

# A manager's page: 378 ms the overview, 153 the list of tasks, 106 home, 46 the review queue, 363 the measures of
# quality (docs/benchmarks/pages.md, 30 November 2026, mean), of which 6 ms within statements.
PAGE_MS, PAGE_DATABASE_MS = 209.0, 6.0

# 1,212 judgments folded in a second of processor (docs/benchmarks/pages.md); 301 transactions of about 40 ms
# (docs/architecture.md) for the consensus of 2,000 tasks (docs/benchmarks/queue.md): an upper bound.
FOLD_MS_PER_JUDGMENT = 1000 / 1212
CONSENSUS_MS_PER_TASK = 301 * 40 / 2000
JOB_BATCH_MS = 40.0
CONSENSUS_PART = 30 / 60
"""Of a minute that the job of all projects' consensus works at most (annotate/quality/consensus.py)."""

# Exports: 2.7 to 4.6 s of processor for 20,000 rankings (docs/benchmarks/data.md); 203 MB of JSON lines for 100,000.
EXPORT_MS_PER_RANKING = 0.18
EXPORT_BYTES_PER_RANKING = 2030

# A job counts a project for its pages: 2.9 s of processor for 1,000,000 tasks, six statements on the SQLite file
# below. It rests 20 times as long as it counted (annotate/quality/project_figures.py).
COUNT_SECONDS_PER_MILLION = 2.9
COUNT_REST = 20

# Reward training, 135M parameters, K = 4, two cores: rankings a second (docs/benchmarks/reward.md).
REWARD_RANKINGS_PER_SECOND = 1.797

# Two web processes of eight threads a host, each thread with a connection for 60 s (docs/configuration.md).
PROCESSES, THREADS = 2, 8


@dataclass(frozen=True)
class Storage:
    """Bytes of the database; WAL of a submit long after a checkpoint, and just after one."""

    task: float
    judgment: float
    wal: float
    wal_after_checkpoint: float
    statements: float
    commits: float


# 3,087,228,928 bytes of a file of 1,000,000 comparisons of four responses of 419 characters (dbstat); 1,380,352 bytes
# of assignments, judgments and revisions for the 1,540 judgments in it.
SQLITE = Storage(task=3087.2, judgment=896.3, wal=0, wal_after_checkpoint=0, statements=0, commits=0)


# `python -m benchmarks scale --measure --tasks 5000 --submits 1500`, 30 November 2026, a busy machine: bytes
# before the first vacuum, of texts as above.
POSTGRESQL = Storage(task=3752, judgment=1425, wal=6050, wal_after_checkpoint=280_000, statements=23, commits=1.01)


@dataclass(frozen=True)
class Assumptions:
    """Not measured here. Think times and time zones are in workload.py, prices in capacity.py."""

    flush_ms: float = 1.0  # one write of the WAL to an SSD that keeps it through a loss of power
    round_trip_ms: float = 0.25  # between two machines of one data centre, for each statement
    drafts: int = 3  # sent while a task is being judged: one for every pause of 0.8 s after a change
    managers_per_labeler: float = 1 / 50
    seconds_between_pages: float = 60.0
    judgments_per_task: int = 2
    reads_per_judgment: float = 25.0  # of 8 kB from the disk, when the tables are far larger than the memory
    reads_per_second: float = 3000.0
    wal_bytes_per_second: float = 125e6
    max_connections: int = 100  # of PostgreSQL as it comes
    other_connections: int = 14  # workers, the scheduler, a backup


ASSUMED = Assumptions()


def of_requests(costs: Costs, part: float) -> tuple[float, float]:
    """(web, database): ms of a request that takes such a part of a submit with the next task."""
    return costs.web * part, costs.database * part


def without_slowdown(costs: Costs, web: float, database: float) -> Costs:
    """With the processor time of a sitting in which the slowdown is contained already."""
    return replace(costs, web=web, database=database, slowdown=1.0)
