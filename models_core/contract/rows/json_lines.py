"""JSON lines: one object a line, UTF-8, lines parted by the line feed alone. Standard library only.

JSON leaves every other separator of Unicode as it is inside a string (U+2028, U+0085, form feed ...), and Python's
`str.splitlines` cuts at each of them. So no file of JSON lines is read by anything but the functions here.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from models_core.contract.errors import BadLine

MAX_LINE_BYTES = 64 * 1024 * 1024
LONGEST_NUMBER = 400
"""Characters of a number beyond which it is not even parsed: no float has that many digits before its point."""


def parts(text: str) -> list[str]:
    """The lines of a text that has been read already, without those that are empty."""
    return [line for line in text.split("\n") if line.strip()]


def numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line of a file with its number from 1 on. One that is too long comes as its beginning, one byte too long."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, raw
        while len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            raw = file.readline(MAX_LINE_BYTES + 1)


def whole(path: Path) -> list[Any]:
    """The rows of a file that was finished. Raises ValueError where a line is none."""
    return [json.loads(text) for text in parts(path.read_bytes().decode("utf-8"))]


def written(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that this program wrote; lines torn by a crash are left out. [] where there is no file."""
    if not path.exists():
        return []
    found = (torn_or_whole(text) for text in parts(path.read_bytes().decode("utf-8", "replace")))
    return [row for row in found if row is not None]


def torn_or_whole(text: str) -> dict[str, Any] | None:
    """The object of a line that this program wrote, None where the line is torn."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def line(row: dict[str, Any]) -> str:
    """A row as a line with its line feed."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def given(raw: bytes, *, first: bool) -> dict[str, Any] | None:
    """The row of a line that comes from outside, None for a blank one. Raises BadLine.

    A key that stands twice is refused, since nobody knows which of the two was meant, and so is a number that no float
    can hold.
    """
    if len(raw) > MAX_LINE_BYTES:
        raise BadLine(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 text (byte {error.start + 1} of the line)") from None
    if not text.strip():
        return None
    if "\0" in text:
        raise BadLine("contains a NUL byte")
    try:
        row = json.loads(text, parse_int=_whole, parse_constant=_no_constant, object_pairs_hook=keys_once)
    except json.JSONDecodeError as error:
        raise BadLine(f"not valid JSON ({error.msg.lower()} at column {error.colno})") from None
    except RecursionError:
        raise BadLine("not valid JSON (a nesting out of bounds)") from None
    if not isinstance(row, dict):
        raise BadLine(f"a row must be a JSON object, not {kind(row)}")
    return row


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number"}
    return "a number" if isinstance(value, float) else names.get(type(value), "null")


def _whole(digits: str) -> int | float:
    """A whole number, infinity for one that no float can hold."""
    if len(digits) > LONGEST_NUMBER:
        return math.inf
    number = int(digits)
    try:
        float(number)
    except OverflowError:
        return math.inf
    return number


def _no_constant(name: str) -> None:
    raise BadLine(f"{name} is not a JSON number")


def keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a file from outside. Raises BadLine for a key that stands twice and a number out of bounds."""
    row = dict(pairs)
    if len(row) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadLine(f"the key {json.dumps(twice[:60])} stands twice in one object")
    for key, value in pairs:
        if _is_out_of_bounds(value):
            raise BadLine(f"{json.dumps(key[:60])} holds a number that is out of bounds")
    return row


def _is_out_of_bounds(value: Any) -> bool:
    """Objects inside have been looked at already, lists have not."""
    if isinstance(value, list):
        return any(map(_is_out_of_bounds, value))
    return isinstance(value, float) and not math.isfinite(value)
