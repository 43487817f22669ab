"""Memory and disk that a run needs, estimated from its settings and models before it is queued.

The arithmetic is that of models_core.contract.memory_estimate: memory is a lower bound, so that no run is refused which
would have fitted, and disk is what the run may come to.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from annotate.artefacts import folders
from annotate.artefacts.bucket import StorageFault
from annotate.data.stored_messages import refusal
from annotate.models import Snapshot
from models_core.contract import catalogue
from models_core.contract.memory_estimate import lower_bound
from models_core.contract.settings import PPOConfig, Settings, TrainingSettings, parse, settings_of
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs.execution import machine
from rlhf.runs.queues import gpu_workers, workers
from rlhf.runs.storage import run_artefacts

GIB = 2**30
LARGEST_HEADER = 100 * 2**20
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, struct.error)
"""What a header that is none of safetensors' raises."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes of memory that a run needs at least, and of disk at most; checkpoints that it keeps at a time."""

    memory: int
    disk: int
    checkpoints: int = 0
    checkpoint_bytes: int = 0


def of(
    *, stage: str, config: Mapping[str, Any], models: Iterable[ModelVersion], rows: int | None = None
) -> Estimate | None:
    """None where the size of a model isn't known here: a Hub id that was not fetched yet.

    models: the one that learns first. rows: of the data, where they are known.
    """
    models = list(dict.fromkeys(models))
    sizes = [parameters_of(version) for version in models]
    if not sizes or None in sizes:
        return None
    first, *others = [size for size in sizes if size is not None]
    parsed = parse(settings_of(stage), config)
    memory = lower_bound.memory(parsed, first=first, others=sum(others))
    if not isinstance(parsed, TrainingSettings):
        return Estimate(memory=memory, disk=_bytes_to_fetch(models))
    kept = _checkpoints(parsed, rows=rows)
    return Estimate(
        memory=memory,
        disk=lower_bound.disk(parsed, first=first, checkpoints=kept) + _bytes_to_fetch(models),
        checkpoints=kept,
        checkpoint_bytes=lower_bound.checkpoint(parsed, first=first),
    )


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run needs, and what the workers of its queue offer: bytes; None where it isn't known."""

    estimate: Estimate | None
    memory_offered: int | None
    disk_offered: int


def needs(
    *,
    stage: str,
    config: Mapping[str, Any],
    queue: str,
    models: Iterable[ModelVersion],
    snapshot: Snapshot | None,
) -> Needs:
    offered = workers.capacity(queue)
    estimate = of(stage=stage, config=config, models=models, rows=rows_of(snapshot))
    processes = gpu_workers.processes_of(stage, config)
    gpus = [sum(each[:processes]) for each in workers.gpus_offered()] if queue == gpu_workers.QUEUE else []
    memory = max(gpus, default=offered["memory"])
    return Needs(estimate=estimate, memory_offered=memory, disk_offered=_disk_free(offered))


def rows_of(snapshot: Snapshot | None) -> int | None:
    return snapshot.rows if snapshot is not None and snapshot.state == Snapshot.State.READY else None


def _disk_free(offered: workers.QueueCapacity) -> int:
    """Bytes of the disk that a further run may use."""
    return max(0, offered["disk_free"] - reserved_disk() - _reserved_by_queued_runs())


def parameters_of(version: ModelVersion) -> int | None:
    """How many a version has, by the headers of its files, here or on the storage; None where nothing can be said."""
    if version.folder:
        here = _parameters_in(settings.HONE_DATA / version.folder)
        return here if here is not None or not folders.is_on() else _parameters_on_storage(version)
    if version.base_model in catalogue.MODELS:
        return catalogue.MODELS[version.base_model].parameters
    return _parameters_in(Path(version.base_model))


def _parameters_on_storage(version: ModelVersion) -> int | None:
    try:
        return _published_parameters(settings.HONE_ARTEFACTS, version.folder)
    except (StorageFault, *UNREADABLE):
        return None


def _bytes_to_fetch(models: Iterable[ModelVersion]) -> int:
    """Of models that are not on this host: the worker's may lack them too, and they come to its disk."""
    if not folders.is_on():
        return 0
    away = [each for each in models if each.folder and not (settings.HONE_DATA / each.folder).is_dir()]
    try:
        return sum(size for version in away for _name, size in run_artefacts.model_sizes(version))
    except StorageFault:
        return 0


def refuse_impossible(
    *,
    stage: str,
    config: Mapping[str, Any],
    queue: str,
    models: Iterable[ModelVersion],
    snapshot: Snapshot | None,
) -> None:
    """Raise Refused (400) with a sentence for a run that no machine which listens to its queue can hold."""
    offered = workers.capacity(queue)
    parsed = parse(settings_of(stage), config)
    processes = getattr(parsed, "processes", 1)
    gpus = workers.gpus_offered() if queue == gpu_workers.QUEUE else []
    if not gpus and offered["cores"] is not None and processes > offered["cores"]:
        raise refusal("too_many_processes", status=400, processes=processes, cores=offered["cores"])
    needed = of(stage=stage, config=config, models=models, rows=rows_of(snapshot))
    gpu_workers.refuse_impossible(processes=processes, memory=needed.memory if needed else None, found=gpus)
    if needed is None:
        return
    if not gpus and offered["memory"] is not None and needed.memory > offered["memory"]:
        raise refusal(
            "too_little_memory", status=400, needed={"bytes": needed.memory}, offered={"bytes": offered["memory"]}
        )
    free = _disk_free(offered)
    if needed.disk > free:
        raise refusal(
            "too_little_disk",
            status=400,
            needed={"bytes": needed.disk},
            checkpoints=needed.checkpoints,
            each={"bytes": needed.checkpoint_bytes},
            free={"bytes": free},
        )


def reserved_disk() -> int:
    """Bytes of the disk reserved for labeling and the database, which no run may use."""
    return int(settings.HONE_RESERVED_DISK_GB * GIB)


def is_disk_full() -> bool:
    """Whether less than the reserved space is free below the data folder."""
    return machine.disk_free(settings.HONE_DATA) < reserved_disk()


def refuse_full_disk() -> None:
    """Raise Refused when less than the reserved space is free below the data folder."""
    if (free := machine.disk_free(settings.HONE_DATA)) < reserved_disk():
        raise refusal("disk_nearly_full", free={"bytes": free}, reserved={"bytes": reserved_disk()})


def _reserved_by_queued_runs() -> int:
    """Bytes that queued runs may write. Files of running ones are in the used space already."""
    queued = TrainingRun.objects.filter(status=TrainingRun.Status.QUEUED).exclude(stage=Stage.SAMPLE)
    total = 0
    for run in queued.select_related("snapshot").prefetch_related("run_inputs__version"):
        models = sorted(run.run_inputs.all(), key=lambda item: item.role != RunInput.Role.MODEL)
        rows = run.snapshot.rows if run.snapshot is not None and run.snapshot.rows else None
        estimate = of(stage=run.stage, config=run.config, models=[item.version for item in models], rows=rows)
        total += estimate.disk if estimate is not None else 0
    return total


def _checkpoints(parsed: TrainingSettings, *, rows: int | None) -> int:
    """How many a run keeps: no more than it has steps for."""
    if not parsed.save_every:
        return 1
    steps = steps_of(parsed, rows)
    made = math.ceil(steps / parsed.save_every) if steps is not None else parsed.keep_checkpoints
    return max(1, min(parsed.keep_checkpoints, made))


def steps_of(parsed: Settings, rows: int | None) -> int | None:
    """Optimizer steps or rollout iterations of a run; None where the rows are not known yet."""
    if isinstance(parsed, PPOConfig):
        return math.ceil(parsed.episodes / parsed.batch_size)
    if rows is None:
        return None
    return math.ceil(rows * getattr(parsed, "epochs", 1) / getattr(parsed, "batch_size", 1))


@lru_cache(maxsize=256)
def _published_parameters(location: str, folder: str) -> int:
    """Of a version that another host has trained. Raises StorageFault, and ValueError where nothing can be said."""
    listed = folders.published(folder)
    total = 0
    for name in listed.files if listed is not None else ():
        if name.endswith(".safetensors") and "/" not in name:
            (length,) = struct.unpack("<Q", folders.start_of(folder, name, 8) or b"")
            _refuse_large_header(name, length)
            total += _parameters_by((folders.start_of(folder, name, 8 + length) or b"")[8:])
    if not total:
        raise ValueError(f"{folder} has no weights on the storage")
    return total


def _parameters_in(folder: Path) -> int | None:
    try:
        return sum(_parameters(path) for path in sorted(folder.glob("*.safetensors"))) or None
    except (OSError, *UNREADABLE):
        return None


def _parameters(path: Path) -> int:
    """Of a safetensors file: its header says every tensor's shape."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        _refuse_large_header(path.name, length)
        return _parameters_by(file.read(length))


def _refuse_large_header(name: str, length: int) -> None:
    if length > LARGEST_HEADER:
        raise ValueError(f"{name} has a header of {length} bytes")


def _parameters_by(text: bytes) -> int:
    header = json.loads(text)
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
