"""OUT.partial, what a command has written until now: a first line that says what was asked for, then entries.

A command that was interrupted goes on from it with --resume, where it is asked for the same.
"""

import itertools
import json
from pathlib import Path
from typing import Any, TextIO

from models_core.contract.errors import BadInput
from models_core.contract.rows import json_lines
from models_core.contract.runs import model_places, setting_differences

MODELS = ("model", "reward")
"""What names models in a first line."""


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
    rows = json_lines.parts(path.read_bytes().decode("utf-8", "replace"))
    found = json_lines.torn_or_whole(rows[0]) if rows else None
    wanted = json.loads(json.dumps(request))
    if found is not None:
        found |= model_places.as_stored_now({name: found[name] for name in MODELS if name in found}, wanted)
    if found != wanted:
        was, now = ({**entry, **entry.get("settings", {})} for entry in (found or {}, wanted))
        for entry in (was, now):
            entry.pop("settings", None)
        difference = f" ({setting_differences.between(was, now)})" if found else ""
        raise BadInput(f"{path} is from a command with other settings{difference}: take them, or leave out --resume.")
    # What stands behind a torn line is in another place than it was written for.
    entries = itertools.takewhile(lambda entry: entry is not None, map(json_lines.torn_or_whole, rows[1:]))
    return list(entries)


def line(entry: dict[str, Any]) -> str:
    return json_lines.line(entry)
