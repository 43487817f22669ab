"""Which workers are alive and what they listen to, and the process a run is held by."""

import os
import socket
from datetime import timedelta
from pathlib import Path

from django.db.models import QuerySet
from django.utils import timezone

from .models import TrainingRun, WorkerHeartbeat

BEAT_SECONDS = 10.0
ALIVE = timedelta(seconds=45)


def host() -> str:
    """This machine, as far as process ids mean the same: containers of one host name differ in their namespace."""
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}/{namespace}"


def holder() -> str:
    """The name under which this process holds runs."""
    return f"{host()}/{os.getpid()}"


def dead_here(runs: QuerySet[TrainingRun]) -> list[str]:
    """Holders of these runs that were processes of this machine and are gone."""
    prefix = host() + "/"
    names = runs.filter(worker__startswith=prefix).values_list("worker", flat=True)
    return [name for name in names if not _is_alive(name.removeprefix(prefix))]


def _is_alive(process_id: str) -> bool:
    try:
        state = Path(f"/proc/{int(process_id)}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state not in ("Z", "X")


def beat(*, name: str, queues: list[str]) -> None:
    """A worker says that it is alive."""
    WorkerHeartbeat.objects.update_or_create(
        name=name,
        defaults={"queues": queues, "host": host(), "process_id": os.getpid(), "seen_at": timezone.now()},
    )


def leave(*, name: str) -> None:
    """A worker says goodbye."""
    WorkerHeartbeat.objects.filter(name=name).delete()


def listening() -> set[str]:
    """The queues that a living worker listens to."""
    alive = WorkerHeartbeat.objects.filter(seen_at__gt=timezone.now() - ALIVE)
    return {queue for queues in alive.values_list("queues", flat=True) for queue in queues}


def is_listening(queue: str) -> bool:
    return queue in listening()
