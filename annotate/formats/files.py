"""Files as a stream of JSON objects or lines: JSON lines or a JSON array, gzipped or not, within limits."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext as _

from annotate.formats.rows import BadRow

LONGEST_FILE = 4 * 2**30
# An array is read as a whole, which takes several times its size of memory.
LONGEST_ARRAY = 256 * 2**20
LONGEST_LINE = 16 * 2**20
GZIP_MAGIC = b"\x1f\x8b"


class BadFile(Exception):
    """Why the file as a whole can't be read, as a sentence."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it's gzipped. Raises BadFile."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            yield io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
    except FileNotFoundError:
        raise BadFile(_("There is no file %(file)s.") % {"file": path.name}) from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise BadFile(_("%(file)s is a broken gzip file.") % {"file": path.name}) from None
    except OSError as error:
        raise BadFile(
            _("%(file)s can't be read: %(reason)s.") % {"file": path.name, "reason": error.strerror}
        ) from None


def lines(path: Path) -> Iterator[tuple[str, str | BadRow]]:
    """(place, text) of each line that isn't blank; what can't be text comes as the BadRow that says so."""
    with opened(path) as file:
        number = size = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            size += len(raw)
            if size > LONGEST_FILE:
                raise BadFile(
                    _("%(file)s is larger than %(size)s GB.") % {"file": path.name, "size": LONGEST_FILE // 2**30}
                )
            if len(raw) > LONGEST_LINE:
                raise BadFile(
                    _("%(file)s: line %(number)s is longer than %(size)s MB.")
                    % {"file": path.name, "number": number, "size": LONGEST_LINE // 2**20}
                )
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                yield (
                    f"line {number}",
                    BadRow(_("not UTF-8 text (byte %(number)s of the line)") % {"number": error.start + 1}),
                )
                continue
            if line:
                yield f"line {number}", line


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """(place, JSON object) of each line of JSON lines, or of each item of an array."""
    if first_character(path) == "[":
        yield from _array(path)
        return
    for place, line in lines(path):
        yield place, line if isinstance(line, BadRow) else _object(line)


def first_character(path: Path) -> str:
    """The first character that isn't blank, or "" for a file without any."""
    with opened(path) as file:
        while block := file.read(4096):
            start = block.removeprefix(b"\xef\xbb\xbf").lstrip()
            if start:
                return chr(start[0])
    return ""


def _array(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    with opened(path) as file:
        raw = file.read(LONGEST_ARRAY + 1)
    if len(raw) > LONGEST_ARRAY:
        raise BadFile(
            _("%(file)s is a JSON array over %(size)s MB; JSON lines may be larger.")
            % {"file": path.name, "size": LONGEST_ARRAY // 2**20}
        )
    try:
        items = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadFile(
            _("%(file)s isn't UTF-8 text (byte %(number)s).") % {"file": path.name, "number": error.start + 1}
        ) from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg.lower()} at column {error.colno}"
        raise BadFile(
            _("%(file)s, line %(number)s: not valid JSON (%(reason)s).")
            % {"file": path.name, "number": error.lineno, "reason": reason}
        ) from None
    except (ValueError, RecursionError, BadRow) as error:
        reason = str(error) if isinstance(error, BadRow) else "a number or a nesting out of bounds"
        raise BadFile(_("%(file)s isn't valid JSON (%(reason)s).") % {"file": path.name, "reason": reason}) from None
    if not isinstance(items, list):
        raise BadFile(_("%(file)s isn't a JSON array.") % {"file": path.name})
    for number, item in enumerate(items, start=1):
        yield f"item {number}", item if isinstance(item, dict) else BadRow(_("a row must be a JSON object"))


def _object(line: str) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(line, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return BadRow(
            _("not valid JSON (%(reason)s at column %(column)s)") % {"reason": error.msg.lower(), "column": error.colno}
        )
    except BadRow as reason:
        return reason
    except (ValueError, RecursionError):
        return BadRow(_("not valid JSON (a number or a nesting out of bounds)"))
    return row if isinstance(row, dict) else BadRow(_("a row must be a JSON object"))


def _no_constant(name: str) -> None:
    raise BadRow(_("%(name)s is not a JSON number") % {"name": name})
