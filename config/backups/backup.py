"""Making a backup while Hone runs: the database first, then the files, so that every file a row names is there."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from annotate.people.audit import chain
from config.backups import databases
from config.backups.store import Backup, BackupError, BackupStore, StoredFile
from config.data_folder import secret_key

FOLDERS = ("models", "snapshots", "runs", "uploads", "corpora")
"""Of the data folder. Neither messages (each waits in a row as well) nor logs nor what `prepare` makes."""
CHECKPOINTS = "checkpoints"
UNFINISHED = (".fetching", ".held")
"""Folders on their way from the storage of HONE_ARTEFACTS or to it."""
APPS = ("annotate", "config", "rlhf")


@dataclass(frozen=True, slots=True)
class Made:
    """new_bytes: that no earlier backup had. gone: files that were removed while they were being read."""

    backup: Backup
    new_bytes: int
    gone: int


def make(
    store: BackupStore, *, checkpoints: bool = True, progress: Callable[[int, int], None] = lambda files, new: None
) -> Made:
    """Add a backup to the store. `progress` gets the files so far, and the new bytes."""
    data = Path(settings.HONE_DATA)
    if store.folder.resolve().is_relative_to(data.resolve()):
        raise BackupError(
            f"{store.folder} is in the data folder itself, and would be lost with it: choose another place."
        )
    with store.lock():
        names = store.names()
        before = store.read(names[-1]).files if names else {}
        now = datetime.now(UTC)
        backup = Backup(
            name=_free_name(f"{now:%Y-%m-%dT%H-%M-%SZ}", names),
            made_at=now.isoformat(timespec="seconds"),
            version=version("hone"),
            engine=databases.engine(),
            audit_head=str(chain.head()),
            migrations=_migrations(),
            database=_stored_database(store),
        )
        new_bytes, gone = backup.database.bytes, 0
        for name, path in _files(data, checkpoints=checkpoints):
            try:
                known = before.get(name)
                if known is not None and _is_unchanged(path, known) and store.has(known):
                    backup.files[name] = known
                else:
                    backup.files[name] = added = store.add(path)
                    new_bytes += added.bytes
            except FileNotFoundError:
                gone += 1
            progress(len(backup.files), new_bytes)
        store.write(backup)
    return Made(backup, new_bytes, gone)


def _stored_database(store: BackupStore) -> StoredFile:
    with tempfile.TemporaryDirectory(dir=store.folder, prefix=".database-") as folder:
        path = Path(folder) / "database"
        databases.dump(path)
        return store.add(path)


def _migrations() -> dict[str, str]:
    """{app: its newest migration}."""
    applied = sorted(MigrationRecorder(connection).applied_migrations())
    return {app: name for app, name in applied if app in APPS}


def _files(data: Path, *, checkpoints: bool) -> Iterator[tuple[str, Path]]:
    """(path below the data folder, file). Links aren't followed: what they lead to isn't Hone's."""
    key = data / secret_key.FILE_NAME
    if key.is_file():
        yield key.name, key
    for folder in FOLDERS:
        for parent, folders, names in os.walk(data / folder):
            folders[:] = sorted(name for name in folders if not name.endswith(UNFINISHED))
            if not checkpoints and CHECKPOINTS in folders:
                folders.remove(CHECKPOINTS)
            for name in sorted(names):
                path = Path(parent, name)
                if path.is_file() and not path.is_symlink():
                    yield path.relative_to(data).as_posix(), path


def _is_unchanged(path: Path, known: StoredFile) -> bool:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns) == (known.bytes, known.changed)


def _free_name(name: str, taken: list[str]) -> str:
    return next(free for free in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))) if free not in taken)
