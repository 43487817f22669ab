"""OUT.partial, what a command has written until now: a first line that says what was asked for, then entries.

A command that was interrupted goes on from it with --resume, where it is asked for the same.
"""

import json
from pathlib import Path
from typing import Any, TextIO

from models_core.config import BadInput


def beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def begin(path: Path, *, request: dict[str, Any]) -> TextIO:
    """A new file with its first line; what was there goes. Raises BadInput where none can be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}).") from None
    file.write(line(request))
    file.flush()
    return file


def entries(path: Path, *, request: dict[str, Any]) -> list[Any]:
    """What an interrupted command left behind, nothing where there is no file; the last line may be torn.

    Raises BadInput where something else was asked for.
    """
    if not path.exists():
        return []
    found = [_parsed(text) for text in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    if not found or found[0] != json.loads(json.dumps(request)):
        raise BadInput(f"{path} is from a command with other settings: take them, or leave out --resume.")
    return [entry for entry in found[1:] if entry is not None]


def line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
