"""Which prompts a reward model was trained on: digests of their content, in the model's folder.

On a prompt that it has learned from, a reward model's scores are better than elsewhere, and a policy that is trained
there learns from a judge it will not have. Digests and not prompts: the folder goes places the data may not.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from models_core.contract.records import Message

FILE = "trained_prompts.txt"
"""One digest a line, sorted."""


def digest(messages: Sequence[Message]) -> str:
    """The same for the same roles and words, whatever the spaces between them."""
    content = [[message["role"], " ".join(message["content"].split())] for message in messages]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:32]


Row = TypeVar("Row", bound=Any)


def without(rows: Sequence[Row], known: frozenset[str]) -> list[Row]:
    """The rows whose prompts ("messages") are not among these digests: what a model may be measured on."""
    return [row for row in rows if digest(row.messages) not in known]


def write(folder: Path, digests: Iterable[str]) -> None:
    lines = sorted(set(digests))
    (folder / FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(folder: str | Path) -> frozenset[str]:
    """Those of a model; none where it says nothing of them."""
    path = Path(folder) / FILE
    return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()
