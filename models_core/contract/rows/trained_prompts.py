"""The prompts that a reward model was trained on: their digests, in the model's folder.

A reward model scores responses to its training prompts better than others, so a policy must neither be trained nor
measured on them. The file holds digests only: a model's folder is copied to places where its data must not go.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from models_core.contract import atomic_write
from models_core.contract.rows.prompt_identity import digest
from models_core.contract.rows.records import Message

FILE_NAME = "trained_prompts.txt"
"""One digest a line, sorted."""
EARLIER_LENGTH = 32
"""Hexadecimal digits of the digests that earlier versions wrote."""

Row = TypeVar("Row", bound=Any)


def exclude(rows: Sequence[Row], known: frozenset[str]) -> list[Row]:
    """The rows whose prompts ("messages") are not among the digests `known`."""
    return [row for row in rows if not contains(known, row.messages)]


def contains(known: frozenset[str], messages: Sequence[Message]) -> bool:
    """Whether a prompt is among the digests of a model, of this version or an earlier one."""
    return bool(known) and (digest(messages) in known or _earlier_digest(messages) in known)


def write(folder: Path, digests: Iterable[str]) -> None:
    atomic_write.write_text(folder / FILE_NAME, "".join(f"{line}\n" for line in sorted(set(digests))))


def read(folder: str | Path) -> frozenset[str]:
    """The digests of a model; none where it has no such file."""
    path = Path(folder) / FILE_NAME
    return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()


def _earlier_digest(messages: Sequence[Message]) -> str:
    """The digest of earlier versions, which folded white space."""
    content = [[message["role"], " ".join(message["content"].split())] for message in messages]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:EARLIER_LENGTH]
