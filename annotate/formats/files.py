"""Files as a stream of JSON objects, table rows or lines, within limits of memory and time.

JSON lines, a JSON array, CSV, TSV, .xlsx, Parquet and Arrow streams; UTF-8 or UTF-16, gzipped or not. Lines end at \\n
alone, as in every reader of JSON lines in the product: a text may hold U+2028 or any other sign that Python's
splitlines knows. Whatever a file unfolds to, no more than one row of it is in memory (of Arrow one batch), and a row
has bounded bytes, values and depth.
"""

import codecs
import csv
import gzip
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext as _

from annotate.formats import arrow_values, spreadsheets
from annotate.formats.rows import BadRow

LONGEST_FILE = 4 * 2**30
LONGEST_LINE = 16 * 2**20
"""Bytes of a line of JSON lines, of an item of an array, of a field of a table."""
MOST_VALUES = 200_000
"""Values of a row, at any depth: JSON of two bytes a value takes forty times its size of memory."""
MOST_DEPTH = 100
MOST_COLUMNS = 1_000
GZIP_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
MOST_FOLDED = 200
"""How many times its size a gzipped file may unfold to. Texts of people shrink to a fifth, the same row again and again
to a fiftieth; what shrinks to a thousandth was made to fill memory."""
FREE_OF_FOLDING = 64 * 2**20
BLOCK = 2**20
ROWS_OF_PARQUET = 16
MOST_OF_COLUMN = 512 * 2**20
"""Bytes of one column of a row group of Parquet. One value, or a dictionary that each row repeats, may be as large."""
MOST_VALUES_OF_COLUMN = 50_000_000
"""A list of a billion nulls takes a few bytes of a Parquet file, and gigabytes when it is read."""
ARROW_STREAM, ARROW_FILE = b"\xff\xff\xff\xff", b"ARROW1"
LARGEST_BATCH = 512 * 2**20
"""Bytes of one batch of rows in an Arrow stream, which is in memory as a whole; `datasets` writes 1,000 rows in one."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
# The order matters: UTF-32's little-endian mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What may open, close or go on in JSON: a string as a whole, or a sign outside of strings. A string that doesn't end is
# one token to the end, and possessive: looked at again from each quote in it, 64 KB would take half a minute.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>")?|[\[\]{},]', re.DOTALL)
Row = dict[str, Any] | BadRow


class BadFile(Exception):
    """Why the file as a whole can't be read, as a sentence."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes as UTF-8, unpacked if it's gzipped. Raises BadFile."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            unpacked = io.BufferedReader(_Unfolded(file, path)) if packed else file
            yield _as_utf8(unpacked, path)
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
    place = _("line %(number)d")
    with opened(path) as file:
        number = size = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            size += len(raw)
            _check_size(size, path)
            if len(raw) > LONGEST_LINE:
                raise BadFile(
                    _("%(file)s: line %(number)s is longer than %(size)s MB.")
                    % {"file": path.name, "number": number, "size": LONGEST_LINE // 2**20}
                )
            text = _decoded(raw, first=number == 1)
            if isinstance(text, BadRow) or text.strip():
                # What JSON takes for blank, and no other space: an ideographic one begins a paragraph.
                yield place % {"number": number}, text if isinstance(text, BadRow) else text.strip(" \t\r\n")


def objects(path: Path, *, name: str = "") -> Iterator[tuple[str, Row]]:
    """(place, row) of each line of JSON lines, each item of an array, each row of a table, of Parquet or of Arrow.

    name: the file's own where `path` is an upload's.
    """
    if is_parquet(path):
        yield from _parquet(path)
    elif is_arrow(path):
        yield from _arrow(path)
    elif spreadsheets.is_workbook(path):
        yield from _sheet(path)
    elif first_character(path) == "[":
        yield from _array(path)
    elif delimiter := delimiter_of(path, name=name):
        yield from _table(path, delimiter)
    else:
        for place, line in lines(path):
            yield place, line if isinstance(line, BadRow) else parsed_json(line)


def first_character(path: Path) -> str:
    """The first character that isn't blank, or "" for a file without any."""
    with opened(path) as file:
        while block := file.read(4096):
            start = block.removeprefix(codecs.BOM_UTF8).lstrip()
            if start:
                return chr(start[0])
    return ""


def is_parquet(path: Path) -> bool:
    with opened(path) as file:
        return file.read(4) == PARQUET_MAGIC


def is_arrow(path: Path) -> bool:
    """Whether it is Arrow's: a stream, or a file of random access."""
    with opened(path) as file:
        start = file.read(len(ARROW_FILE))
    return start.startswith((ARROW_STREAM, ARROW_FILE))


def is_packed(path: Path) -> bool:
    """Whether it is a zip, of which a workbook is one: nothing of it is read without unpacking."""
    with path.open("rb") as file:
        return file.read(4) == spreadsheets.ZIP_MAGIC


def is_workbook(path: Path) -> bool:
    return spreadsheets.is_workbook(path)


def delimiter_of(path: Path, *, name: str = "") -> str:
    """What parts the columns of a table, by the file's name and its first line; empty for a file that is no table."""
    suffixes = [suffix.lower() for suffix in Path(name or path.name).suffixes[-2:]]
    suffix = next((suffix for suffix in suffixes if suffix in DELIMITERS), "")
    if not suffix:
        return ""
    with opened(path) as file:
        header = file.readline(BLOCK).decode("utf-8-sig", "replace")
    # Spreadsheets write ".csv" with semicolons where the comma is for decimals.
    return max((DELIMITERS[suffix], ",", ";", "\t"), key=header.count) if header.strip() else DELIMITERS[suffix]


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


class _Unfolded(io.RawIOBase):
    """A gzipped file's content; stops at one that unfolds to far more than any text does. Raises BadFile."""

    def __init__(self, packed: IO[bytes], path: Path) -> None:
        super().__init__()
        self.path = path
        self.most = max(FREE_OF_FOLDING, MOST_FOLDED * path.stat().st_size)
        self.content = gzip.GzipFile(fileobj=packed)
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        given = self.content.readinto(buffer)
        self.given += given
        if self.given > self.most:
            raise BadFile(
                _("%(file)s unfolds to more than %(times)d times its size. Unpack it, and give the file itself.")
                % {"file": self.path.name, "times": MOST_FOLDED}
            )
        return given


class _Recoded(io.RawIOBase):
    """A file of another encoding as UTF-8. Raises BadFile where it isn't in that encoding."""

    def __init__(self, file: IO[bytes], encoding: str, path: Path) -> None:
        super().__init__()
        self.file, self.encoding, self.path = file, encoding, path
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.left = b""
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.left and not self.ended:
            block = self.file.read(BLOCK)
            self.ended = not block
            try:
                self.left = self.decoder.decode(block, final=self.ended).encode()
            except UnicodeError:
                raise BadFile(
                    _("%(file)s isn't the %(encoding)s text that its first bytes say it is.")
                    % {"file": self.path.name, "encoding": self.encoding.upper()}
                ) from None
        size = min(len(buffer), len(self.left))
        buffer[:size] = self.left[:size]
        self.left = self.left[size:]
        return size


def _as_utf8(file: "io.BufferedReader[Any]", path: Path) -> IO[bytes]:
    start = file.peek(4)[:4]
    encoding = next((encoding for mark, encoding in MARKS if start.startswith(mark)), "")
    # Without a mark, JSON and text of plain letters have every other byte empty.
    if not encoding and len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        encoding = "utf-16-le"
    elif not encoding and len(start) == 4 and start[0] == start[2] == 0 and start[1] and start[3]:
        encoding = "utf-16-be"
    return io.BufferedReader(_Recoded(file, encoding, path), BLOCK) if encoding else file


def _decoded(raw: bytes, *, first: bool) -> str | BadRow:
    try:
        return raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        return BadRow(_("not UTF-8 text (byte %(number)s of the line)") % {"number": error.start + 1})


def _check_size(size: int, path: Path) -> None:
    if size > LONGEST_FILE:
        raise BadFile(_("%(file)s is larger than %(size)s GB.") % {"file": path.name, "size": LONGEST_FILE // 2**30})


def _array(path: Path) -> Iterator[tuple[str, Row]]:
    """The items of a JSON array: each is found by its brackets and then read as a line would be."""
    of_line, of_item = _("line %(number)d"), _("item %(number)d")
    with opened(path) as file:
        for number, (line, raw) in enumerate(_items(file, path), start=1):
            item = _decoded(raw, first=False)
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
    while block := file.read(BLOCK):
        size += len(block)
        _check_size(size, path)
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
        if len(pending) - start > LONGEST_LINE:
            raise BadFile(
                _("%(file)s: the item that begins on line %(number)s is longer than %(size)s MB.")
                % {"file": path.name, "number": line, "size": LONGEST_LINE // 2**20}
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


def _table(path: Path, delimiter: str) -> Iterator[tuple[str, Row]]:
    """The rows of a CSV or TSV file by its header; empty cells say nothing."""
    # For the process; a field longer than a line of JSON may be is refused in both.
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() or (f"column {at}" if at > 1 else "") for at, name in enumerate(next(rows, []), start=1)]
        _check_header(header, path)
        begins, of_line = rows.line_num + 1, _("line %(number)d")
        for cells in rows:
            place, begins = of_line % {"number": begins}, rows.line_num + 1
            if not any(cells):
                continue
            if len(cells) > len(header):
                yield place, _too_many(cells, header)
                continue
            # The nameless first column of a table is the number of the row.
            yield place, {name: cell for name, cell in zip(header, cells, strict=False) if cell and name}
    except csv.Error as error:
        if "new-line character" in str(error):
            raise BadFile(
                _("%(file)s, line %(number)s: a line ends with a carriage return alone. Save it with LF or CRLF.")
                % {"file": path.name, "number": rows.line_num}
            ) from None
        raise BadFile(
            _("%(file)s, line %(number)s: not a sound table (%(reason)s).")
            % {"file": path.name, "number": rows.line_num, "reason": error}
        ) from None


def _sheet(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a spreadsheet by its first row; empty cells say nothing."""
    try:
        found = spreadsheets.rows(path, most_columns=MOST_COLUMNS)
        _place, first = next(found)
        if isinstance(first, BadRow):
            raise BadFile(f"{path.name}: {first}.")
        header = _names(first)
        _check_header(header, path)
        for place, cells in found:
            if isinstance(cells, list) and any(cell.strip() for cell in cells[len(header) :]):
                yield place, _too_many(cells, header)
            elif isinstance(cells, list):
                yield place, {name: cell for name, cell in zip(header, cells, strict=False) if cell and name}
            else:
                yield place, cells
    except spreadsheets.BadSheet as reason:
        raise BadFile(str(reason)) from None


def _names(header: list[str]) -> list[str]:
    while header and not header[-1].strip():
        header = header[:-1]
    return [name.strip() or (f"column {at}" if at > 1 else "") for at, name in enumerate(header, start=1)]


def _too_many(cells: list[str], header: list[str]) -> BadRow:
    return BadRow(_("%(cells)d cells under %(columns)d columns") % {"cells": len(cells), "columns": len(header)})


def _check_header(header: list[str], path: Path) -> None:
    named = [name for name in header if name]
    if len(header) > MOST_COLUMNS:
        raise BadFile(
            _("%(file)s has more than %(columns)s columns.") % {"file": path.name, "columns": f"{MOST_COLUMNS:,}"}
        )
    if not named:
        raise BadFile(_("The first line of %(file)s must name its columns.") % {"file": path.name})
    if len(set(named)) != len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise BadFile(
            _('The first line of %(file)s has the column "%(column)s" twice.')
            % {"file": path.name, "column": twice[:60]}
        )


def _text_lines(path: Path) -> Iterator[str]:
    with opened(path) as file:
        size = 0
        for number in range(1, 2**62):
            raw = file.readline(LONGEST_LINE + 1)
            if not raw:
                return
            size += len(raw)
            _check_size(size, path)
            text = _decoded(raw, first=number == 1)
            if isinstance(text, BadRow) or len(raw) > LONGEST_LINE:
                reason = str(text) if isinstance(text, BadRow) else _("it is too long")
                raise BadFile(f"{path.name}, line {number}: {reason}.")
            yield text


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a Parquet file, a few at a time; a null is what isn't there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as plain:
        if plain.read(2) == GZIP_MAGIC:
            raise BadFile(_("%(file)s is a gzipped Parquet file. Unpack it.") % {"file": path.name})
    try:
        with pq.ParquetFile(path) as file:
            yield from _numbered(file.iter_batches(batch_size=_rows_at_once(file, path), use_threads=False))
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        raise BadFile(_("%(file)s is a broken Parquet file.") % {"file": path.name}) from None


class _BoundedReads(io.RawIOBase):
    """A file of which nobody reads more than a batch of rows at once, nor more than a file may have in all."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__()
        self.file, self.path = file, path
        self.given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_BATCH:
            raise BadFile(
                _("%(file)s has a batch of rows larger than %(size)s MB. Save it with fewer rows in a batch.")
                % {"file": self.path.name, "size": LARGEST_BATCH // 2**20}
            )
        found = self.file.read(size)
        self.given += len(found)
        _check_size(self.given, self.path)
        return found


def _arrow(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of an Arrow stream, as `datasets` saves them, a batch at a time; a null is what isn't there."""
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            if file.read(len(ARROW_FILE)) == ARROW_FILE:
                raise BadFile(
                    _("%(file)s is an Arrow file of random access. Hone reads Arrow streams, and Parquet.")
                    % {"file": path.name}
                )
            file.seek(0)
            yield from _numbered(_batches(_BoundedReads(file, path), path))
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        raise BadFile(_("%(file)s is a broken Arrow stream.") % {"file": path.name}) from None


def _batches(file: _BoundedReads, path: Path) -> Iterator[Any]:
    """The batches of a stream, each checked as a whole: what its offsets point to is read without another look."""
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(file, mode="r"))
    schema = None
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        if schema is None:
            schema = pa.ipc.read_schema(message)
            if len(set(schema.names)) < len(schema.names) or len(schema.names) > MOST_COLUMNS:
                raise BadFile(
                    _("%(file)s has two columns of one name, or more than %(columns)s columns.")
                    % {"file": path.name, "columns": f"{MOST_COLUMNS:,}"}
                )
            continue
        if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
            # Which may unfold to anything; `datasets` writes neither.
            raise BadFile(
                _(
                    "%(file)s has compressed batches or dictionaries, which Hone doesn't read of Arrow. "
                    "Save it as Parquet."
                )
                % {"file": path.name}
            )
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        yield batch


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch names a compression: the fourth field of the third field of its flatbuffer."""

    def field(table: int, index: int) -> int:
        start = table - struct.unpack_from("<i", metadata, table)[0]
        at = 4 + 2 * index
        if at >= struct.unpack_from("<H", metadata, start)[0]:
            return 0
        offset = struct.unpack_from("<H", metadata, start + at)[0]
        return table + offset if offset else 0

    try:
        if not (header := field(struct.unpack_from("<I", metadata)[0], 2)):
            return True
        return bool(field(header + struct.unpack_from("<I", metadata, header)[0], 3))
    except struct.error:
        return True


def _rows_at_once(file: Any, path: Path) -> int:
    """How many rows to read at a time so that few bytes are in memory, by what the file says of itself."""
    names = file.schema_arrow.names
    if len(set(names)) < len(names) or len(names) > MOST_COLUMNS:
        raise BadFile(
            _("%(file)s has two columns of one name, or more than %(columns)s columns.")
            % {"file": path.name, "columns": f"{MOST_COLUMNS:,}"}
        )
    metadata, largest = file.metadata, 1
    size = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        size += group.total_byte_size
        _check_size(size, path)
        for column in map(group.column, range(group.num_columns)):
            largest = max(largest, column.total_uncompressed_size)
            if largest > MOST_OF_COLUMN or column.num_values > MOST_VALUES_OF_COLUMN:
                raise BadFile(
                    _("%(file)s has too much of a column in one row group. Write it with row groups of 10,000 rows.")
                    % {"file": path.name}
                )
    return max(1, min(ROWS_OF_PARQUET, ROWS_OF_PARQUET * LONGEST_LINE // largest))


def _is_small(batch: Any) -> bool:
    return batch.nbytes <= 2 * LONGEST_LINE and _values_in(batch.columns) <= MOST_VALUES


def _values_in(arrays: list[Any]) -> int:
    """How many values the columns hold at any depth: nulls take no bytes until they are read."""
    count = 0
    while arrays:
        array = arrays.pop()
        count += len(array)
        if hasattr(array, "keys"):
            # A map, which is the one list that Arrow doesn't flatten.
            first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
            arrays += [array.keys.slice(first, last - first), array.items.slice(first, last - first)]
        elif hasattr(array, "flatten"):
            inner = array.flatten()
            arrays += inner if isinstance(inner, list) else [inner]
    return count


def _one_by_one(batch: Any) -> Iterator[dict[str, Any] | BadRow]:
    for index in range(batch.num_rows):
        single = batch.slice(index, 1)
        if single.get_total_buffer_size() and single.nbytes > LONGEST_LINE:
            yield BadRow(_("the row is larger than %(size)s MB") % {"size": LONGEST_LINE // 2**20})
        elif _values_in(single.columns) > MOST_VALUES:
            yield BadRow(_("more than %(values)s values in a row") % {"values": f"{MOST_VALUES:,}"})
        else:
            yield single.to_pylist()[0]


def _numbered(batches: Iterable[Any]) -> Iterator[tuple[str, Row]]:
    """(place, row) of all rows of batches of Arrow, a few at a time, as JSON has them."""
    number, place = 0, _("row %(number)d")
    finish: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    for found in batches:
        batch = arrow_values.in_microseconds(found)
        finish = finish or _finisher(batch.schema)  # of all of them: a file has one schema
        for start in range(0, batch.num_rows, ROWS_OF_PARQUET):
            part = batch.slice(start, ROWS_OF_PARQUET)
            for row in part.to_pylist() if _is_small(part) else _one_by_one(part):
                number += 1
                yield place % {"number": number}, finish(row) if isinstance(row, dict) else row


def _finisher(schema: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What makes a row of Arrow one of JSON. Only where a column asks for it is every value looked at."""
    if not arrow_values.needs_reading(schema):
        return _without_nulls
    return lambda row: {key: arrow_values.as_json(value) for key, value in row.items() if value is not None}


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}
