"""JSON of a file as objects: a line of JSON lines, or the items of an array one after the other.

A row has bounded bytes, values and depth, which are counted before anything is made of it.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext as _

from annotate.formats.files import byte_streams
from annotate.formats.files.byte_streams import BadFile, check_size, decoded, opened
from annotate.formats.rows import BadRow, Row

MOST_VALUES = 200_000
"""Values of a row, at any depth: JSON of two bytes a value takes forty times its size of memory."""
MOST_DEPTH = 100
# What may open, close or go on in JSON: a string as a whole, or a sign outside of strings. A string that doesn't end is
# one token to the end, and possessive: looked at again from each quote in it, 64 KB would take half a minute.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>")?|[\[\]{},]', re.DOTALL)


def parsed_json(text: str) -> Row:
    """A line or item as a JSON object, or the BadRow that says why it's none: the one way in for JSON of a file."""
    if reason := _excess(text.encode("utf-8", "surrogatepass")):
        return BadRow(reason)
    try:
        row = json.loads(
            text, parse_int=_whole, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_keys_once
        )
    except json.JSONDecodeError as error:
        return BadRow(
            _("not valid JSON (%(reason)s at column %(column)s)") % {"reason": error.msg.lower(), "column": error.colno}
        )
    except BadRow as broken:
        return broken
    except (ValueError, RecursionError):
        return BadRow(_("not valid JSON (a number or a nesting out of bounds)"))
    return row if isinstance(row, dict) else BadRow(_("a row must be a JSON object"))


def array_items(path: Path) -> Iterator[tuple[str, Row]]:
    """The items of a JSON array: each is found by its brackets and then read as a line would be."""
    of_line, of_item = _("line %(number)d"), _("item %(number)d")
    with opened(path) as file:
        for number, (line, raw) in enumerate(_items(file, path), start=1):
            item = decoded(raw, first=False)
            row = item if isinstance(item, BadRow) else parsed_json(item)
            broken = isinstance(row, BadRow) and "not valid JSON" in str(row)
            # What isn't JSON is named by its line, as an editor shows it; a sound item by its number.
            yield of_line % {"number": line} if broken else of_item % {"number": number}, row


def _items(file: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """(line, bytes) of each item between the brackets of an array. Raises BadFile for what isn't an array."""
    pending = bytearray()
    depth = size = at = start = 0
    line = 1
    closed = seen = False
    while block := file.read(byte_streams.BLOCK):
        size += len(block)
        check_size(size, path)
        pending += block.removeprefix(codecs.BOM_UTF8) if size == len(block) else block
        while match := TOKEN.search(pending, at):
            sign = pending[match.start() : match.start() + 1]
            if sign == b'"' and match["end"] is None:
                break  # it goes on behind what was read
            at = match.end()
            if sign == b'"':
                continue
            if closed:
                raise _broken(path, line + pending.count(b"\n", 0, at), _("something follows the closing bracket"))
            if sign in b"[{":
                depth += 1
                if depth == 1:
                    start = at
            elif sign in b"]}":
                depth -= 1
                if depth == 0 and sign != b"]":
                    raise _broken(path, line + pending.count(b"\n", 0, at), _("an array ends with ]"))
            if (sign == b"," and depth == 1) or depth == 0:
                item = bytes(pending[start : match.start()])
                here = line + pending.count(b"\n", 0, start) + _blank_lines(item)
                if item.strip():
                    yield here, item.strip()
                elif sign == b"," or seen:
                    raise _broken(path, here, _("expecting value"))
                seen = True
                closed = depth == 0
                line += pending.count(b"\n", 0, at)
                del pending[:at]
                at = start = 0
        if len(pending) - start > byte_streams.LONGEST_LINE:
            raise BadFile(
                _("%(file)s: the item that begins on line %(number)s is longer than %(size)s MB.")
                % {"file": path.name, "number": line, "size": byte_streams.LONGEST_LINE // 2**20}
            )
    if not closed or pending.strip():
        reason = _("something follows the closing bracket") if closed else _("the array isn't closed")
        raise _broken(path, line + pending.count(b"\n"), reason)


def _blank_lines(item: bytes) -> int:
    return item.count(b"\n", 0, len(item) - len(item.lstrip()))


def _broken(path: Path, line: int, reason: str) -> BadFile:
    return BadFile(
        _("%(file)s, line %(number)s: not valid JSON (%(reason)s).")
        % {"file": path.name, "number": line, "reason": reason}
    )


def _excess(raw: bytes) -> str:
    """Why JSON holds too much to be read, or nothing. Counted before anything is made of it."""
    signs = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if signs <= MOST_DEPTH:
        return ""
    depth = deepest = values = 0
    for match in TOKEN.finditer(raw):
        sign = raw[match.start()]
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            values += 1
        elif sign in b"]}":
            depth -= 1
        elif sign in b",":
            values += 1
        if deepest > MOST_DEPTH or values > MOST_VALUES:
            break
    if deepest > MOST_DEPTH:
        return _("not valid JSON (a number or a nesting out of bounds)")
    if values > MOST_VALUES:
        return _("more than %(values)s values in a row") % {"values": f"{MOST_VALUES:,}"}
    return ""


def _no_constant(name: str) -> None:
    raise BadRow(_("%(name)s is not a JSON number") % {"name": name})


def _whole(written: str) -> int:
    _finite(written)
    return int(written)


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise BadRow(_("%(number)s is a number out of bounds") % {"number": written[:40]})
    return value


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are different ones: of two equal keys nobody knows which was meant."""
    row = dict(pairs)
    if len(row) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _value in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRow(
            _('the key "%(key)s" stands there twice') % {"key": twice[:60].encode("utf-8", "replace").decode()}
        )
    return row
