"""Checkpoints of ended runs: how much of a disk or of the storage they use, and their removal after a number of days.

Only checkpoints go: the model, metrics, samples, log and data of a run stay. A failed or cancelled run that is resumed
afterwards begins again; a run that waits or runs keeps all of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

from annotate.models import Project, User
from annotate.people import audit
from rlhf.models import TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import removed_folders, run_artefacts

DEFAULT_DAYS = 30
MOST_DAYS = 3650


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The checkpoints of an ended run: their size in bytes, and the newest one's step."""

    run: TrainingRun
    bytes: int
    step: int | None


def kept(project: Project | None = None, *, days: int = 0, now: datetime | None = None) -> list[Kept]:
    """Ended runs with checkpoints, the largest first; only those that ended at least so many days ago."""
    ended = TrainingRun.objects.filter(status__in=TrainingRun.ENDED, finished_at__lte=ended_by(days, now=now))
    ended = ended.exclude(folder="")
    ended = ended if project is None else ended.filter(project=project)
    found = []
    stored = run_artefacts.checkpoint_sizes()
    for run in ended.select_related("project").defer("log", "result").order_by("pk").iterator(chunk_size=500):
        files = RunFiles(run)
        here = sum(_size(folder) for folder in (files.checkpoints, removed_folders.aside(files.checkpoints)))
        if size := here or stored.get(run.pk, 0):
            found.append(Kept(run=run, bytes=size, step=run_artefacts.checkpoint_step(run)))
    return sorted(found, key=lambda item: -item.bytes)


def ended_by(days: int, *, now: datetime | None = None) -> datetime:
    """When a run has ended at the latest that ended at least so many days ago."""
    return (now or timezone.now()) - timedelta(days=days)


def remove(found: Iterable[Kept], *, by: User | None) -> int:
    """Remove these checkpoints, but those of a run that was resumed meanwhile. Returns the bytes freed."""
    freed = 0
    for item in found:
        if not TrainingRun.objects.filter(pk=item.run.pk, status__in=TrainingRun.ENDED).exists():
            continue
        files = RunFiles(item.run)
        removed_folders.remove(files.checkpoints)
        run_artefacts.remove_checkpoints(item.run)
        audit.record(
            verb="run.checkpoints_removed", actor=by, subject=item.run, project=item.run.project, bytes=item.bytes
        )
        freed += item.bytes
    return freed


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() or path.is_dir() else path.stat().st_size
        except OSError:  # it went meanwhile
            continue
    return total
