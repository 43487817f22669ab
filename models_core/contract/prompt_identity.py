"""Which rows are kept for measuring where no evaluation file is given: part of the prompts, all rows of each."""

import hashlib
import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

FEWEST_HELD_OUT = 5
"""Fewer held-out prompts than this measure nothing; all rows are trained on instead."""

Row = TypeVar("Row")


def split_by_prompt(
    rows: list[Row], *, part: float, prompt_of: Callable[[Row], Any] = attrgetter("messages")
) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows. A hash of the prompt decides, so no prompt is on both sides, ever."""
    places = [place(content(prompt_of(row))) for row in rows]
    if len({place for place in places if place < part}) < FEWEST_HELD_OUT:
        return rows, []
    training = [row for row, place in zip(rows, places, strict=True) if place >= part]
    held_out = [row for row, place in zip(rows, places, strict=True) if place < part]
    return training, held_out


def content(prompt: Any) -> str:
    """What a prompt says, whatever its id, as one text: the same for the same messages."""
    return json.dumps(prompt, sort_keys=True, ensure_ascii=False)


def place(text: str) -> float:
    """A text's place in [0, 1), the same in every file and every run: its side of a split never changes."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
