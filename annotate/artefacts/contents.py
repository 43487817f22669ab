"""Files known by the SHA-256 of their bytes: what a list holds of each, and copying that hashes what it copies."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

BLOCK = 1 << 20
MOST_NAME_BYTES, MOST_PATH_BYTES = 255, 4096
MOST_NUMBER = 2**63 - 1
"""Of bytes and nanoseconds, as file systems have them."""


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
    source: Readable,
    target: Writable | None,
    *,
    heartbeat: Callable[[], None] | None = None,
    most: int | None = None,
) -> tuple[str, int]:
    """Copy what is left of `source`, or only read it: its SHA-256 and size. `heartbeat` is called at each block.

    most: the bytes after which it stops.
    """
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK if most is None else min(BLOCK, most - size)):
        digest.update(block)
        if target is not None:
            target.write(block)
        size += len(block)
        if heartbeat is not None:
            heartbeat()
    return digest.hexdigest(), size


def checked_path(name: str) -> str:
    """The path of a file below a folder. Raises ValueError for one that leads out of it, or that no file can have."""
    path = PurePosixPath(name)
    if not path.parts or name != str(path) or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no path below the data folder")
    encoded = os.fsencode(name)  # raises UnicodeEncodeError
    if len(encoded) > MOST_PATH_BYTES or max(map(len, encoded.split(b"/"))) > MOST_NAME_BYTES:
        raise ValueError("a path that is too long")
    return name
