"""What a command that is resumed is asked for otherwise than it was begun with, in words."""

from collections.abc import Mapping
from typing import Any

MOST_NAMED = 5
SHA256_LENGTH = 64


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The values that differ, by name: "batch_size is 8 there, and 16 here"; empty where none does."""
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    values = [f"{name} is {value(before.get(name))} there, and {value(now.get(name))} here" for name in names]
    return "; ".join(values[:MOST_NAMED])


def value(given: Any) -> str:
    """A value as it is written on a command line; of a SHA-256 the beginning."""
    if given is None:
        return "not given"
    text = str(given).lower() if isinstance(given, bool) else str(given)
    return f"{text[:12]}…" if len(text) == SHA256_LENGTH else text or "empty"
