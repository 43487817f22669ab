"""Live workers, the queues they consume, and the processes that hold leases."""

import os
import socket
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import User
from annotate.people import audit
from rlhf.models import TrainingRun, WorkerHeartbeat
from rlhf.runs.execution import machine
from rlhf.runs.queues import gpu_workers

BEAT_SECONDS = 10.0
ALIVE = timedelta(seconds=45)


class QueueCapacity(TypedDict):
    """Resources of a queue's workers; None where no worker reports them."""

    cores: int | None
    memory: int | None
    disk_free: int


def host() -> str:
    """This machine, as far as process ids mean the same: containers of one host name differ in their namespace."""
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}/{namespace}"


def lease_holder() -> str:
    """The name of this process in leases."""
    return f"{host()}/{os.getpid()}"


def dead_local_holders(runs: QuerySet[TrainingRun]) -> list[str]:
    """Lease holders of these runs that were processes of this machine and have exited."""
    prefix = host() + "/"
    names = runs.filter(worker__startswith=prefix).values_list("worker", flat=True)
    return [name for name in names if not _is_alive(name.removeprefix(prefix))]


def _is_alive(process_id: str) -> bool:
    try:
        state = Path(f"/proc/{int(process_id)}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state not in ("Z", "X")


def record_heartbeat(*, name: str, queues: list[str], processes: list[int] | None = None) -> bool:
    """Record that a worker is alive, with its queues, its pool's processes and its machine; whether it is draining."""
    row, _created = WorkerHeartbeat.objects.update_or_create(
        name=name,
        defaults={
            "queues": queues,
            "host": host(),
            "process_id": os.getpid(),
            "processes": processes or [],
            "capacity": machine.capacity(settings.HONE_DATA),
            "seen_at": timezone.now(),
        },
    )
    return row.draining


def remove_heartbeat(*, name: str) -> None:
    """Remove the heartbeat of a worker that exits."""
    WorkerHeartbeat.objects.filter(name=name).delete()


def drain(*, name: str, draining: bool, by: User) -> None:
    """Let a worker take no further runs, or take them again; the one that it executes goes on. Raises Refused."""
    with transaction.atomic():
        if WorkerHeartbeat.objects.filter(name=name).update(draining=draining) != 1:
            raise Refused(_("There is no such worker any more."), status=404)
        worker = WorkerHeartbeat.objects.get(name=name)
        verb = "worker.drained" if draining else "worker.undrained"
        audit.record(verb=verb, actor=by, subject=worker, project=None, worker=name)


def is_draining() -> bool:
    """Whether the worker whose pool this process is of takes no further runs."""
    return WorkerHeartbeat.objects.filter(host=host(), process_id=os.getppid(), draining=True).exists()


def in_words(worker: WorkerHeartbeat) -> str:
    """ "listening", "draining" or "silent"."""
    if worker.seen_at <= timezone.now() - ALIVE:
        return "silent"
    return "draining" if worker.draining else "listening"


def executed_runs() -> dict[str, list[TrainingRun]]:
    """{worker: the runs that its processes hold, the oldest first}: of served models a process holds several."""
    running = TrainingRun.objects.filter(status=TrainingRun.Status.RUNNING).select_related("project").order_by("pk")
    by_holder: dict[str, list[TrainingRun]] = defaultdict(list)
    for run in running:
        by_holder[run.worker].append(run)
    return {
        worker.name: [run for process in worker.processes for run in by_holder.get(f"{worker.host}/{process}", ())]
        for worker in WorkerHeartbeat.objects.all()
    }


def listening() -> set[str]:
    """Queues whose runs a live worker takes."""
    return {queue for worker in _listening() for queue in worker.queues}


def capacity(queue: str) -> QueueCapacity:
    """The most that one live worker of a queue offers; without one, the free disk here."""
    found = [worker.capacity for worker in _listening() if queue in worker.queues and worker.capacity]
    here = machine.disk_free(settings.HONE_DATA)
    return QueueCapacity(
        cores=max((each["cores"] for each in found), default=None),
        memory=max((each["memory"] for each in found if each["memory"] is not None), default=None),
        disk_free=max((each["disk_free"] for each in found), default=here),
    )


def gpus_offered() -> list[list[int]]:
    """Bytes of each GPU of every live worker of the queue gpu, as far as they tell."""
    return gpu_workers.offered(seen_since=timezone.now() - ALIVE)


def _listening() -> QuerySet[WorkerHeartbeat]:
    return WorkerHeartbeat.objects.filter(seen_at__gt=timezone.now() - ALIVE, draining=False)


def is_listening(queue: str) -> bool:
    return queue in listening()
