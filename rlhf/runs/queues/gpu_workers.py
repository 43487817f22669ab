"""Which workers of the queue gpu can give a run its GPUs: one for each of its processes.

A worker with several GPUs takes one run at a time, and leaves it as many of them as it has processes.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from annotate.data.stored_messages import refusal
from models_core.contract.errors import BadInput
from models_core.contract.settings import parse, settings_of
from rlhf.models import TrainingRun, WorkerHeartbeat
from rlhf.runs.execution import machine
from rlhf.runs.execution.monitoring import gpu_devices

QUEUE = "gpu"


def processes_of(stage: str, config: Mapping[str, Any]) -> int:
    """The GPUs that a run computes on: one for each process."""
    try:
        return int(getattr(parse(settings_of(stage), config), "processes", 1))
    except BadInput:  # of an earlier version; its run says so
        return 1


def offered(*, seen_since: datetime) -> list[list[int]]:
    """Bytes of each GPU of every worker of the queue that takes runs and tells of its GPUs."""
    rows = WorkerHeartbeat.objects.filter(seen_at__gt=seen_since, draining=False)
    memory = [gpu_memory(row.capacity) for row in rows if QUEUE in row.queues]
    return [sorted(each, reverse=True) for each in memory if each]


def gpu_memory(capacity: Mapping[str, Any]) -> list[int]:
    """Bytes of each GPU of a worker; by nvidia-smi's words where NVML's package is missing there."""
    devices = capacity.get("gpu_devices") or []
    if devices:
        return [int(device["memory"]) for device in devices]
    return [machine.memory_in_words(words) for words in capacity.get("gpus") or []]


def refuse_impossible(*, processes: int, memory: int | None, found: list[list[int]]) -> None:
    """Raise Refused (400) for a run that no worker has the GPUs for. `memory`: bytes that all its processes need."""
    if not found:
        return
    enough = [each[:processes] for each in found if len(each) >= processes]
    if not enough:
        raise refusal("too_few_gpus", status=400, processes=processes, gpus=max(map(len, found)))
    each_needs, best = (memory or 0) // processes, max(each[-1] for each in enough)
    if best and each_needs > best:
        raise refusal("too_little_gpu_memory", status=400, needed={"bytes": each_needs}, offered={"bytes": best})


def can_take(run: TrainingRun) -> bool:
    """Whether this worker has as many GPUs as a run of its queue has processes, as far as it knows of its GPUs."""
    known = len(gpu_devices.names()) or len(machine.gpus())
    return run.queue != QUEUE or not known or processes_of(run.stage, run.config) <= known
