"""Folders that a data folder held before HONE_ARTEFACTS was set: what nobody has published, other hosts can't fetch."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from annotate.artefacts import folders, local_folders
from annotate.artefacts.bucket import Heartbeat
from annotate.models import Snapshot
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import run_artefacts


@dataclass(frozen=True, slots=True)
class EarlierFolder:
    """A folder below the data folder of this host. without: subfolders that are published by themselves. owner: of a
    run's folder, RunFiles.owner."""

    name: str
    without: tuple[str, ...] = ()
    owner: str = ""

    @property
    def bytes(self) -> int:
        place = settings.HONE_DATA / self.name
        left_out = [place / name for name in self.without]
        return sum(
            path.stat().st_size
            for path in place.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(place).parts)
            and not any(path.is_relative_to(folder) for folder in left_out)
        )


def unpublished() -> Iterator[EarlierFolder]:
    """Snapshots, models and runs of this host that the storage has not, in that order. Raises StorageFault.

    A run that is at work publishes itself. One that waits may go on from its checkpoint at another host.
    """
    for each in _folders():
        if (settings.HONE_DATA / each.name).is_dir() and folders.published(each.name, owner=each.owner) is None:
            yield each


def publish(folder: EarlierFolder, *, heartbeat: Heartbeat = local_folders.silent) -> bool:
    """False where the folder is gone: a checkpoint that its training replaced. Raises StorageFault."""
    try:
        folders.publish(folder.name, without=folder.without, heartbeat=heartbeat, owner=folder.owner)
    except FileNotFoundError:
        return False
    return True


def _folders() -> Iterator[EarlierFolder]:
    ready = Snapshot.objects.filter(state=Snapshot.State.READY).exclude(folder="").order_by("pk")
    for name in ready.values_list("folder", flat=True):
        yield EarlierFolder(name)
    for version in ModelVersion.objects.order_by("pk"):
        for name in run_artefacts.model_folders(version):
            yield EarlierFolder(name)
    at_work = (TrainingRun.Status.RUNNING, TrainingRun.Status.LOST)
    for run in TrainingRun.objects.exclude(status__in=at_work).order_by("pk"):
        files = RunFiles(run)
        for name in (run_artefacts.INPUTS, run_artefacts.CHECKPOINTS):
            yield EarlierFolder(f"{files.relative}/{name}", owner=files.owner)
        yield EarlierFolder(files.relative, run_artefacts.OWN, files.owner)
