"""What /metrics says of the queue, runs, workers and disk: read from the database and from counts that jobs keep.

Nothing here counts a million rows: a large project's figures are those of annotate.quality.project_figures, runs are
counted in an index, and every label has a bounded number of values.
"""

import shutil
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Exists, F, Min, OuterRef, Q, Sum
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from annotate.models import Project, ProjectFigures, Task
from annotate.quality.project_figures import SMALL
from config.models import EventCount
from rlhf.models import TrainingRun, WorkerHeartbeat

MOST_PROJECTS = 200
MOST_WORKERS = 200
LEASE_EXPIRIES = "lease_expiries"

Sample = tuple[dict[str, str], float]
"""Labels and value."""
Family = tuple[str, str, str, list[Sample]]
"""Kind ("gauge" or "counter"), name without `_total`, description, samples."""


def families() -> Iterator[Family]:
    yield from _queue()
    expired = EventCount.objects.filter(pk=LEASE_EXPIRIES).values_list("number", flat=True).first()
    yield "counter", "hone_lease_expiries", "Tasks taken back because their lease ran out.", [({}, float(expired or 0))]
    yield from _runs()
    yield from _workers()
    disk = shutil.disk_usage(settings.HONE_DATA)
    yield "gauge", "hone_disk_free_bytes", "Free bytes of the data folder's disk.", [({}, float(disk.free))]
    yield "gauge", "hone_disk_size_bytes", "Size of the data folder's disk.", [({}, float(disk.total))]


def _queue() -> Iterator[Family]:
    """The newest projects. A large one that its job hasn't counted yet is left out until it has, within a minute."""
    now = timezone.now()
    projects = Project.objects.filter(archived_at=None).order_by("-pk").values_list("pk", "slug")[:MOST_PROJECTS]
    slugs = dict(projects)
    stored = dict(ProjectFigures.objects.filter(project__in=slugs).values_list("project_id", "values"))
    rows = {
        project: (
            sum(kind["open"] for kind in values.get("kinds", {}).values()),
            values.get("wanted") or 0,
            parse_datetime(values.get("oldest_open") or ""),
        )
        for project, values in stored.items()
    }
    rows |= _counted_now(slugs.keys() - stored.keys())
    depth, wanted, age = [], [], []
    for project, (open_tasks, judgments, oldest) in sorted(rows.items()):
        label = {"project": slugs[project]}
        depth.append((label, float(open_tasks)))
        wanted.append((label, float(judgments)))
        age.append((label, _seconds(now, oldest)))
    yield "gauge", "hone_queue_open_tasks", "Open tasks of a project.", depth
    yield "gauge", "hone_queue_judgments_wanted", "Judgments that the open tasks of a project still want.", wanted
    yield "gauge", "hone_queue_oldest_task_age_seconds", "Age of a project's oldest task with a free place.", age


def _counted_now(projects: set[int]) -> dict[int, tuple[int, int, datetime | None]]:
    """{project: (open tasks, judgments wanted, time of the oldest)} of small ones."""
    beyond = Task.objects.filter(project=OuterRef("pk")).order_by()[SMALL : SMALL + 1]
    small = Project.objects.filter(pk__in=projects).exclude(Exists(beyond)).values_list("pk", flat=True)
    found: dict[int, tuple[int, int, datetime | None]] = dict.fromkeys(small, (0, 0, None))
    tasks = Task.objects.filter(project__in=list(found), state=Task.State.OPEN).order_by().values_list("project")
    counted = tasks.annotate(
        open=Count("pk"),
        wanted=Sum(F("judgments_wanted") - F("judgments_given"), filter=Q(judgments_wanted__gt=F("judgments_given"))),
        oldest=Min("created_at", filter=Q(slots_free__gt=0)),
    )
    return found | {project: (number, wanted or 0, oldest) for project, number, wanted, oldest in counted}


def _runs() -> Iterator[Family]:
    counts = dict(TrainingRun.objects.order_by().values_list("status").annotate(Count("pk")))
    by_status = [({"status": status}, float(counts.get(status, 0))) for status in TrainingRun.Status.values]
    yield "gauge", "hone_runs", "Training runs by status.", by_status
    queued = TrainingRun.objects.filter(status=TrainingRun.Status.QUEUED).order_by()
    now = timezone.now()
    waiting = queued.values_list("queue").annotate(Count("pk"), Min("queued_at")).order_by("queue")[:MOST_WORKERS]
    ages = [({"queue": queue}, _seconds(now, oldest)) for queue, _number, oldest in waiting]
    yield "gauge", "hone_oldest_queued_run_age_seconds", "How long the oldest waiting run of a queue waits.", ages


def _workers() -> Iterator[Family]:
    now = timezone.now()
    beats = WorkerHeartbeat.objects.order_by("-seen_at").values_list("name", "seen_at")[:MOST_WORKERS]
    ages = [({"worker": name}, _seconds(now, seen)) for name, seen in beats]
    yield "gauge", "hone_worker_heartbeat_age_seconds", "Time since a worker last said that it is alive.", ages


def _seconds(now: datetime, then: datetime | None) -> float:
    return max(0.0, (now - then).total_seconds()) if then is not None else 0.0


def count_expired_leases(number: int) -> None:
    """One job of one worker at a time does this, so that the row is nobody's bottleneck."""
    if not EventCount.objects.filter(pk=LEASE_EXPIRIES).update(number=F("number") + number):
        EventCount.objects.get_or_create(pk=LEASE_EXPIRIES, defaults={"number": number})
