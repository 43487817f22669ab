"""Folders that are removed whole: no half of a model or of a checkpoint is left that something could load."""

import shutil
from pathlib import Path


def aside(folder: Path) -> Path:
    """Under which name a folder waits while its files go."""
    return folder.with_name(f".removed-{folder.name}")


def remove(folder: Path) -> None:
    """Remove a folder, and what an interrupted removal has left of it. Idempotent."""
    gone = aside(folder)
    if folder.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
