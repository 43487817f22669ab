"""The data folder is its owner's alone: it holds session keys, people's texts and models."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

UMASK = 0o077
"""Of every process that reads the settings, and of the programs it starts."""
OURS = (
    *("hone.sqlite3*", "secret_key", "serve.lock", "broker", "logs", "models", "runs", "snapshots", "static"),
    *("uploads", "rejected", "demo"),
)
"""What Hone keeps in the data folder; whatever else stands there is somebody's own affair."""


def keep_private() -> None:
    os.umask(UMASK)


def tighten(data: Path, *others: Path) -> None:
    """Take from group and others what an earlier version, or another umask, gave them. Links aren't followed."""
    if not data.stat().st_mode & stat.S_ISVTX:  # /tmp and the like stay everybody's
        _take_from_others(data)
    for pattern in OURS:
        for path in data.glob(pattern):
            _take_from_others(path)
            if path.is_dir() and not path.is_symlink():
                for below in _below(path):
                    _take_from_others(below)
    for path in others:
        _take_from_others(path)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)


def _take_from_others(path: Path) -> None:
    try:
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & UMASK and found.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(found.st_mode) & ~UMASK)
    except FileNotFoundError:  # a file that came and went
        return
