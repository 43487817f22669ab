"""Files known by the SHA-256 of their bytes: what a list holds of each, and copying that hashes what it copies."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

BLOCK = 1 << 20


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    def write(self, block: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """sha256: 64 hexadecimal digits. changed: time of the last change in nanoseconds, as the file system had it."""

    sha256: str
    bytes: int
    changed: int


def copied(
    source: Readable, target: Writable | None, *, heartbeat: Callable[[], None] | None = None
) -> tuple[str, int]:
    """Copy what is left of `source`, or only read it: its SHA-256 and size. `heartbeat` is called at each block."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK):
        digest.update(block)
        if target is not None:
            target.write(block)
        size += len(block)
        if heartbeat is not None:
            heartbeat()
    return digest.hexdigest(), size


def checked_path(name: str) -> str:
    """The path of a file below a folder. Raises ValueError for one that leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise ValueError(f"{name!r} is no path below the data folder")
    return name
