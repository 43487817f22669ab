"""The folder of the backups: each content once, under its hash, and a list of files for each backup.

    FOLDER/hone-backups        says that this is such a folder
    FOLDER/files/ab/abcd...    a file's bytes, named by their SHA-256
    FOLDER/backups/NAME.json   a backup: its database, and {path in the data folder: hash, bytes, time of change}

A backup is there when its list is: whatever ends it earlier leaves the ones before as they were.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from annotate.artefacts.contents import StoredFile, checked_path, copied
from models_core.contract import atomic_write

MARK = "hone-backups"
FORMAT = 1


class BackupError(Exception):
    """A sentence that says why nothing was backed up or restored."""


@dataclass(kw_only=True)
class Backup:
    """One backup. engine: sqlite or postgresql. audit_head: the newest link of the audit log's hash chain."""

    name: str
    made_at: str
    version: str
    engine: str
    database: StoredFile
    migrations: dict[str, str]
    audit_head: str
    files: dict[str, StoredFile] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return self.database.bytes + sum(file.bytes for file in self.files.values())

    def hashes(self) -> set[str]:
        return {self.database.sha256, *(file.sha256 for file in self.files.values())}


class BackupStore:
    """Raises BackupError where the folder is none of Hone's backups."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        if create and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
            (folder / "files").mkdir(parents=True)
            (folder / "backups").mkdir()
            atomic_write.write_text(folder / MARK, f"{FORMAT}\n")
        try:
            written = (folder / MARK).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            raise BackupError(f"{folder} holds no backups of Hone.") from None
        if written != str(FORMAT):
            raise BackupError(f"{folder} was written by a newer version of Hone.")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time writes into the folder."""
        with (self.folder / MARK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"Another backup into {self.folder} is under way.") from None
            self._remove_drafts()
            yield

    def names(self) -> list[str]:
        """The oldest first."""
        return sorted(path.stem for path in (self.folder / "backups").glob("*.json"))

    def read(self, name: str) -> Backup:
        path = self.folder / "backups" / f"{name}.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["database"] = StoredFile(**values["database"])
            values["files"] = {checked_path(name): StoredFile(*stored) for name, stored in values["files"].items()}
            return Backup(**values)
        except FileNotFoundError:
            raise BackupError(f"There is no backup {name} in {self.folder}.") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BackupError(f"The list of the backup {name} can't be read ({error}).") from None

    def write(self, backup: Backup) -> None:
        values = asdict(backup)
        values["files"] = {name: [file.sha256, file.bytes, file.changed] for name, file in sorted(backup.files.items())}
        # Escaped: the name of a file may hold bytes that are no text.
        atomic_write.write_text(self.folder / "backups" / f"{backup.name}.json", json.dumps(values, indent=1) + "\n")

    def add(self, path: Path) -> StoredFile:
        """Copy a file's bytes, as far as they are there now, unless the folder has them."""
        with path.open("rb") as source:
            changed = os.fstat(source.fileno()).st_mtime_ns
            descriptor, draft = tempfile.mkstemp(dir=self.folder / "files", prefix=".draft-")
            try:
                with os.fdopen(descriptor, "wb") as target:
                    sha256, size = copied(source, target)
                    target.flush()
                    os.fsync(target.fileno())
                place = self.place(sha256)
                if not place.exists():
                    place.parent.mkdir(exist_ok=True)
                    os.replace(draft, place)
            finally:
                Path(draft).unlink(missing_ok=True)
        return StoredFile(sha256, size, changed)

    def place(self, sha256: str) -> Path:
        return self.folder / "files" / sha256[:2] / sha256

    def has(self, file: StoredFile) -> bool:
        place = self.place(file.sha256)
        return place.is_file() and place.stat().st_size == file.bytes

    def copy_out(self, file: StoredFile, target: Path | None) -> None:
        """Write the bytes to `target`, or only read them. Raises BackupError where they aren't what was stored."""
        try:
            with self.place(file.sha256).open("rb") as source, open(target or os.devnull, "wb") as copy:
                sha256, _size = copied(source, copy)
        except FileNotFoundError:
            raise BackupError(f"The backup lacks the file {file.sha256}.") from None
        if sha256 != file.sha256:
            raise BackupError(f"The file {file.sha256} of the backup isn't what was stored.")
        if target is not None:
            os.utime(target, ns=(file.changed, file.changed))

    def keep(self, count: int) -> tuple[int, int]:
        """Remove all backups but the newest `count`, and the bytes that only they need: (backups, bytes) removed."""
        names = self.names()
        gone = names[:-count]
        needed = {sha256 for name in names[-count:] for sha256 in self.read(name).hashes()}
        for name in gone:
            (self.folder / "backups" / f"{name}.json").unlink()
        freed = 0
        for path in (self.folder / "files").glob("*/*"):
            if path.name not in needed:
                freed += path.stat().st_size
                path.unlink()
        return len(gone), freed

    def _remove_drafts(self) -> None:
        """What a backup that was killed left."""
        for path in (self.folder / "files").glob(".draft-*"):
            path.unlink()
        for path in self.folder.glob(".database-*"):
            shutil.rmtree(path)
