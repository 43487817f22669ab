"""A file of results, one JSON object a line, appended to the moment a result is there: work can be cut short."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]


def read(path: Path) -> list[Result]:
    """All results; a last line that was cut short, by a machine that went down, does not count."""
    if not path.exists():
        return []
    results = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def append(path: Path, result: Result) -> None:
    """Add a line, on a line of its own even where the one before was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0, 2)
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(result).encode() + b"\n")


def has(path: Path, key: Result) -> bool:
    """Whether there is a result with all of these values."""
    # Compared as they are written: a tuple comes back as a list.
    wanted = json.loads(json.dumps(key))
    return any(wanted.items() <= result.items() for result in read(path))
