"""A backup put back into an empty data folder and an empty database, and what is then verified."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Snapshot
from annotate.people.audit import chain
from annotate.people.audit.chain import Head
from config.backups import databases
from config.backups.backup import FOLDERS
from config.backups.store import Backup, BackupError, BackupStore
from config.data_folder import secret_key
from config.data_folder.data_lock import AlreadyRunning, data_lock
from models_core.contract.runs.run_folder import folder_sha256
from rlhf.models import ModelVersion
from rlhf.runs.storage import run_artefacts

STAGING = ".restoring"


@dataclass(slots=True)
class Verified:
    """What was looked at once everything was in place. later: why nothing was, for a database of an older version.

    fetched: of the snapshots and models those that the backup does not hold and the storage of HONE_ARTEFACTS did.
    """

    snapshots: int = 0
    models: int = 0
    fetched: int = 0
    audit_events: int = 0
    problems: list[str] = field(default_factory=list)
    later: str = ""


def check(store: BackupStore, backup: Backup) -> None:
    """Read every file of a backup. Raises BackupError for the first that isn't what was stored."""
    for file in (backup.database, *backup.files.values()):
        store.copy_out(file, None)


def restore(store: BackupStore, backup: Backup, *, progress: Callable[[int], None] = lambda files: None) -> Verified:
    """Raises BackupError before anything is changed where there is something that would be overwritten.

    Files come first, the database last: what ends it earlier leaves no Hone that looks whole.
    """
    data = Path(settings.HONE_DATA)
    if backup.engine != databases.engine():
        raise BackupError(
            f"The backup is of a database of the kind {backup.engine}, and the settings name one of the kind "
            f"{databases.engine()}."
        )
    try:
        with data_lock(data, owner="a restore"):
            _refuse_occupied(data)
            staging = data / STAGING
            shutil.rmtree(staging, ignore_errors=True)
            try:
                for done, (name, file) in enumerate(backup.files.items(), start=1):
                    target = staging / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    store.copy_out(file, target)
                    progress(done)
                database = staging / "database"
                staging.mkdir(exist_ok=True)
                store.copy_out(backup.database, database)
                for name in (*FOLDERS, secret_key.FILE_NAME):
                    if (staging / name).exists():
                        _put_in_place(staging / name, data / name)
                databases.restore(database)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except AlreadyRunning as other:
        raise BackupError(f"Hone runs with this data folder ({other.owner}). Stop it first.") from None
    return verify(backup)


def verify(backup: Backup) -> Verified:
    """Do the rows' hashes hold for the files, and does the audit log's chain still have its head?

    What another host has published since, or this one never held, is fetched from the storage.
    """
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return Verified(later="The backup is of an older version: `manage.py prepare` brings its database up to date.")
    result = Verified()
    for snapshot in Snapshot.objects.filter(state=Snapshot.State.READY).order_by("pk"):
        result.snapshots += 1
        result.fetched += not (Path(settings.HONE_DATA) / snapshot.folder).is_dir()
        try:
            found = [str(problem) for problem in snapshots.verify(snapshot)]
        except Refused as fault:  # of the storage
            found = [str(fault)]
        if found:
            result.problems.append(f"Snapshot {snapshot.pk}: {found[0]}")
    for version in ModelVersion.objects.exclude(folder="").order_by("pk"):
        result.models += 1
        folder = Path(settings.HONE_DATA) / version.folder
        if not folder.is_dir():
            result.fetched += 1
            try:
                run_artefacts.fetch_model(version)
            except Refused as fault:
                result.problems.append(f"Model version {version.pk}: {fault}")
                continue
        if not folder.is_dir():
            result.problems.append(f"Model version {version.pk}: its folder {version.folder} isn't there.")
        elif version.sha256 and folder_sha256(folder) != version.sha256:
            result.problems.append(f"Model version {version.pk}: its files aren't those of its hash.")
    head = chain.parse_head(backup.audit_head) if backup.audit_head != str(Head()) else None
    log = chain.verify(head)
    result.audit_events = log.head.position
    result.problems += log.problems
    return result


def _refuse_occupied(data: Path) -> None:
    occupied = [name for name in FOLDERS if (data / name).is_dir() and any((data / name).iterdir())]
    if occupied:
        raise BackupError(
            f"{data} holds {', '.join(occupied)} already. A backup is restored into an empty data folder."
        )
    if not databases.is_empty():
        raise BackupError("The database isn't empty. A backup is restored into an empty one.")


def _put_in_place(staged: Path, place: Path) -> None:
    if place.is_dir():
        place.rmdir()  # empty, as was made sure
    os.replace(staged, place)
