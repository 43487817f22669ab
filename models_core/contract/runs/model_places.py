"""Names of models as a run's files store them: folders below the data folder relative to it.

So a worker on another host, where the data folder is mounted elsewhere, finds that a run to be resumed is the same.
Files of earlier versions have absolute folders, which are recognised by their end.
"""

import os
from collections.abc import Mapping
from pathlib import Path

DATA = "data:"
"""Before a folder relative to the data folder."""


def stored(name: str | None) -> str | None:
    """The name to store of a model, or of several between commas."""
    root = os.environ.get("HONE_DATA")
    if name is None or not root or DATA in name:
        return name
    if Path(name).is_absolute() and Path(name).exists():
        return _stored_folder(name, Path(root))
    return ",".join(_stored_folder(part, Path(root)) for part in name.split(","))


def as_stored_now(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> dict[str, str | None]:
    """Names that were stored earlier, under today's names where both stand for the same folder of a data folder."""
    return {role: now[role] if role in now and _is_same(name, now[role]) else name for role, name in before.items()}


def _stored_folder(name: str, root: Path) -> str:
    folder = Path(name)
    if not folder.is_absolute():
        return name
    # os.path.realpath: Path.resolve raises for a link to itself, which whoever loads the model refuses in a sentence.
    real, real_root = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    for given, below in ((folder, root.absolute()), (real, real_root)):
        if given.is_relative_to(below):
            return f"{DATA}{given.relative_to(below).as_posix()}"
    return name


def _is_same(before: str | None, now: str | None) -> bool:
    if before is None or now is None or before == now:
        return before == now
    old, new = before.split(","), now.split(",")
    return len(old) == len(new) and all(map(_is_same_folder, old, new))


def _is_same_folder(before: str, now: str) -> bool:
    if before == now:
        return True
    relative = now.removeprefix(DATA)
    return now.startswith(DATA) and bool(relative) and before.startswith("/") and before.endswith(f"/{relative}")
