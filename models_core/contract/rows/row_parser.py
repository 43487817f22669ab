"""Files of rows as records, read and checked once: every error is a sentence with the file, the line and the reason."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from models_core.contract.errors import BadInput, BadLine, RowError
from models_core.contract.rows import foreign_formats, json_lines, records

STANDARD_INPUT = "-"


def rows(path: str | Path, *, unreadable: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and JSON objects of a file, streamed. Byte order mark, CRLF and blank lines are accepted.

    Raises BadInput for a missing file, a file in another format, and a line that is not a UTF-8 JSON object of finite
    numbers; where a list is given for such lines, the sentence about each is put there instead.
    """
    name = name_of(path)
    _check_format(path)
    with _opened(path) as file:
        for number, raw in json_lines.numbered(file):
            try:
                row = json_lines.given(raw, first=number == 1)
            except BadLine as reason:
                _refuse(f"{name}, line {number}: {reason}.", unreadable)
                continue
            if row is not None:
                yield number, row


def _opened(path: str | Path) -> AbstractContextManager[BinaryIO]:
    if str(path) == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None


def _check_format(path: str | Path) -> None:
    """Raise BadInput for a file in another format. What comes through a pipe cannot be looked at twice."""
    if str(path) == STANDARD_INPUT or not Path(path).is_file():
        return
    with _opened(path) as file:
        sentence = foreign_formats.of_file(file.read(foreign_formats.HEAD_BYTES), name=name_of(path))
    if sentence is not None:
        raise BadInput(sentence)


def name_of(path: str | Path) -> str:
    """What a sentence calls a file."""
    return "standard input" if str(path) == STANDARD_INPUT else Path(path).name


def _refuse(sentence: str, unreadable: list[str] | None) -> None:
    if unreadable is None:
        raise BadInput(sentence) from None
    unreadable.append(sentence)


def stream(path: str | Path, kind: str, *, unreadable: list[str] | None = None) -> Iterator[Any]:
    """The rows of a file, or of standard input ("-"), one by one as they are read; else as `read`."""
    parse = records.PARSERS[kind]
    for number, row in rows(path, unreadable=unreadable):
        try:
            record = parse(row)
        except RowError as reason:
            other = foreign_formats.of_row(row)
            _refuse(f"{name_of(path)}, line {number}: {reason}{f'; {other}' if other else ''}.", unreadable)
            continue
        yield record


def read(path: str | Path, kind: str, *, unreadable: list[str] | None = None) -> list[Any]:
    """All rows of a file as records of one kind: a key of `records.PARSERS` ("rankings" takes pairs too).

    "responses" takes any row that has a prompt and responses: rankings, pairs, sampled responses, demonstrations.
    Raises BadInput: "rankings.jsonl, line 12: reason." Where a list is given for them, such sentences are put there and
    the rows left out. A file without rows is an error too.
    """
    found = list(stream(path, kind, unreadable=unreadable))
    if not found and unreadable:
        raise BadInput(f"{Path(path).name}: no row can be read; the first: {unreadable[0]}")
    if not found:
        raise BadInput(f"{Path(path).name}: the file has no rows.")
    return found


def find_chat(path: str | Path, messages: records.Messages) -> tuple[int, str] | None:
    """Line number and id of the first row whose chat is this one, or ends with it after the system turn."""
    system = messages[:1] if messages and messages[0]["role"] == "system" else ()
    last = messages[len(system) :]
    for number, row in rows(path, unreadable=[]):
        try:
            found, _ = records.chat_of(row)
        except RowError:
            continue
        if last and found[: len(system)] == system and found[-len(last) :] == last:
            return number, records.id_of(row)
    return None
