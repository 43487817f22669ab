"""The identity of a prompt: one digest of its messages, one split, and the prompts that a run holds out.

The digest and the split are those that the labeling application stores with its prompts
(`annotate.models.data.prompt`), so that a prompt has one identity in databases, files and models. Texts are taken as
they are: other spaces are another prompt.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

MIN_HELD_OUT_PROMPTS = 5
"""Below this number an evaluation is meaningless; all rows are trained on instead."""
HOLD_OUT_VERSION = 2
"""Changes whenever `hold_out` would choose other prompts: a run is resumed under its own version only."""

Row = TypeVar("Row")
Split = Literal["train", "validation", "test"]


def digest(messages: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the roles and contents of a chat in hexadecimal; other keys are ignored."""
    canonical = [[message["role"], message["content"]] for message in messages]
    return text_digest(json.dumps(canonical, ensure_ascii=False, separators=(",", ":")))


def text_digest(text: str) -> str:
    """SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(prompt_digest: str) -> Split:
    """The permanent split of a prompt: 80% train, 10% validation, 10% test."""
    bucket = int(prompt_digest[:8], 16) % 100
    return "train" if bucket < 80 else "validation" if bucket < 90 else "test"


def position(of_digest: str) -> float:
    """A number in [0, 1), uniform over digests and independent of `split`."""
    return int(of_digest[:16], 16) / 2**64


def _messages_digest(row: Any) -> str:
    return digest(row.messages)


def hold_out(
    rows: list[Row], *, fraction: float, digest_of: Callable[[Row], str] = _messages_digest
) -> tuple[list[Row], list[Row]]:
    """(training rows, held-out rows): the digest decides, so a prompt is on the same side in every file and run.

    All rows are for training where too few prompts would be held out.
    """
    positions = [position(digest_of(row)) for row in rows]
    if len({value for value in positions if value < fraction}) < MIN_HELD_OUT_PROMPTS:
        return rows, []
    training = [row for row, value in zip(rows, positions, strict=True) if value >= fraction]
    held_out = [row for row, value in zip(rows, positions, strict=True) if value < fraction]
    return training, held_out
