"""Where a published folder lies on this host: its place, what marks how it was fetched, its lock."""

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from annotate.artefacts.bucket import Heartbeat
from annotate.artefacts.contents import checked_path

ROOM = ".artefacts"
WAIT_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0


class Busy(Exception):
    """Another process has the folder locked."""


def silent() -> None:
    """The heartbeat of those whom nobody waits for."""


def path_of(folder: str) -> Path:
    return Path(settings.HONE_DATA) / checked_path(folder)


def mark_of(folder: str) -> Path:
    """Its list as it was published or fetched here."""
    return Path(settings.HONE_DATA) / ROOM / f"{checked_path(folder)}.json"


def staging_of(folder: str) -> Path:
    return _beside(folder, ".fetching")


def scratch(folder: str) -> Path:
    """A place of the same file system for links to files that are to be published."""
    return _beside(folder, ".held")


def _beside(folder: str, end: str) -> Path:
    path = path_of(folder)
    return path.with_name(f".{path.name}{end}")


def remove_leftovers(folder: str, *, but: Path | None = None) -> None:
    """Of processes that were killed while they fetched or published the folder. The caller has locked it."""
    for path in (staging_of(folder), scratch(folder)):
        if path != but:
            shutil.rmtree(path, ignore_errors=True)


def files_of(path: Path, without: Collection[str]) -> Iterator[tuple[str, Path]]:
    """(name in the folder, file). Links aren't followed: what they lead to isn't the folder's."""
    for parent, folders, names in os.walk(path):
        base = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not is_left_out((base / name).relative_to(path).as_posix(), without)
        )
        for name in sorted(names):
            file = base / name
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file.relative_to(path).as_posix(), file


def is_left_out(name: str, without: Collection[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in without)


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


@contextmanager
def locked(folder: str, beat: Heartbeat, *, waits: bool = True) -> Iterator[None]:
    """One process of this host at a time publishes, fetches or removes a folder. Raises Busy for one that won't wait
    for the others."""
    path = mark_of(folder).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    raise Busy from None
                beat()
                time.sleep(WAIT_SECONDS)
        yield


def paced(heartbeat: Heartbeat) -> Heartbeat:
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT_SECONDS:
            last = time.monotonic()
            heartbeat()

    return beat
