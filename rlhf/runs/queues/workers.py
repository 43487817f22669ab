"""Live workers, the queues they consume, and the processes that hold leases."""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from rlhf.models import TrainingRun, WorkerHeartbeat
from rlhf.runs.execution import machine

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


def record_heartbeat(*, name: str, queues: list[str]) -> None:
    """Record that a worker is alive, with its queues and its machine."""
    WorkerHeartbeat.objects.update_or_create(
        name=name,
        defaults={
            "queues": queues,
            "host": host(),
            "process_id": os.getpid(),
            "capacity": machine.capacity(settings.HONE_DATA),
            "seen_at": timezone.now(),
        },
    )


def remove_heartbeat(*, name: str) -> None:
    """Remove the heartbeat of a worker that exits."""
    WorkerHeartbeat.objects.filter(name=name).delete()


def listening() -> set[str]:
    """Queues that a live worker consumes."""
    return {queue for worker in _alive() for queue in worker.queues}


def capacity(queue: str) -> QueueCapacity:
    """The most that one live worker of a queue offers; without one, the free disk here."""
    found = [worker.capacity for worker in _alive() if queue in worker.queues and worker.capacity]
    here = machine.disk_free(settings.HONE_DATA)
    return QueueCapacity(
        cores=max((each["cores"] for each in found), default=None),
        memory=max((each["memory"] for each in found if each["memory"] is not None), default=None),
        disk_free=max((each["disk_free"] for each in found), default=here),
    )


def _alive() -> QuerySet[WorkerHeartbeat]:
    return WorkerHeartbeat.objects.filter(seen_at__gt=timezone.now() - ALIVE)


def is_listening(queue: str) -> bool:
    return queue in listening()
