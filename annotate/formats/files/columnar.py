"""Rows of Parquet and of Arrow streams, a few at a time (of Arrow one batch is in memory); nulls are left out."""

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext as _

from annotate.formats.files import arrow_values, byte_streams, json_objects, tables
from annotate.formats.files.byte_streams import BadFile, check_size, opened
from annotate.formats.rows import BadRow, Row

PARQUET_MAGIC = b"PAR1"
ROWS_OF_PARQUET = 16
MOST_OF_COLUMN = 512 * 2**20
"""Bytes of one column of a row group of Parquet. One value, or a dictionary that each row repeats, may be as large."""
MOST_VALUES_OF_COLUMN = 50_000_000
"""A list of a billion nulls takes a few bytes of a Parquet file, and gigabytes when it is read."""
ARROW_STREAM, ARROW_FILE = b"\xff\xff\xff\xff", b"ARROW1"
LARGEST_BATCH = 512 * 2**20
"""Bytes of one batch of rows in an Arrow stream, which is in memory as a whole; `datasets` writes 1,000 rows in one."""


def parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a Parquet file, a few at a time; a null is what isn't there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as plain:
        if plain.read(2) == byte_streams.GZIP_MAGIC:
            raise BadFile(_("%(file)s is a gzipped Parquet file. Unpack it.") % {"file": path.name})
    try:
        with pq.ParquetFile(path) as file:
            yield from _numbered(file.iter_batches(batch_size=_rows_at_once(file, path), use_threads=False))
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        raise BadFile(_("%(file)s is a broken Parquet file.") % {"file": path.name}) from None


def arrow_rows(path: Path) -> Iterator[tuple[str, Row]]:
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
        check_size(self.given, self.path)
        return found


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
            if len(set(schema.names)) < len(schema.names) or len(schema.names) > tables.MOST_COLUMNS:
                raise BadFile(
                    _("%(file)s has two columns of one name, or more than %(columns)s columns.")
                    % {"file": path.name, "columns": f"{tables.MOST_COLUMNS:,}"}
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
    if len(set(names)) < len(names) or len(names) > tables.MOST_COLUMNS:
        raise BadFile(
            _("%(file)s has two columns of one name, or more than %(columns)s columns.")
            % {"file": path.name, "columns": f"{tables.MOST_COLUMNS:,}"}
        )
    metadata, largest = file.metadata, 1
    size = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        size += group.total_byte_size
        check_size(size, path)
        for column in map(group.column, range(group.num_columns)):
            largest = max(largest, column.total_uncompressed_size)
            if largest > MOST_OF_COLUMN or column.num_values > MOST_VALUES_OF_COLUMN:
                raise BadFile(
                    _("%(file)s has too much of a column in one row group. Write it with row groups of 10,000 rows.")
                    % {"file": path.name}
                )
    return max(1, min(ROWS_OF_PARQUET, ROWS_OF_PARQUET * byte_streams.LONGEST_LINE // largest))


def _is_small(batch: Any) -> bool:
    return batch.nbytes <= 2 * byte_streams.LONGEST_LINE and _values_in(batch.columns) <= json_objects.MOST_VALUES


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
        if single.get_total_buffer_size() and single.nbytes > byte_streams.LONGEST_LINE:
            yield BadRow(_("the row is larger than %(size)s MB") % {"size": byte_streams.LONGEST_LINE // 2**20})
        elif _values_in(single.columns) > json_objects.MOST_VALUES:
            yield BadRow(_("more than %(values)s values in a row") % {"values": f"{json_objects.MOST_VALUES:,}"})
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


def is_parquet(path: Path) -> bool:
    with opened(path) as file:
        return file.read(4) == PARQUET_MAGIC


def is_arrow(path: Path) -> bool:
    """Whether it is Arrow's: a stream, or a file of random access."""
    with opened(path) as file:
        start = file.read(len(ARROW_FILE))
    return start.startswith((ARROW_STREAM, ARROW_FILE))
