"""Files and rows as imports and trainings read them: rows, or reasons that can be shown; no key goes without a word."""

import dataclasses
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from annotate.formats import IMPORTERS, detect, rows_of
from annotate.formats.files import BadFile
from annotate.formats.rows import BadRow, ImportedRow, LeftOut, parsed
from tests.annotate.data.test_json_readers import LINES, by_import, by_training
from tests.annotate.data.test_odd_rows import ROWS, changed, places
from tests.annotate.rendering.test_rendered_letters import strings
from tests.fuzz import hostile_data
from tests.fuzz.campaign import Part

UNKNOWN = "zq_unknown"
TOKEN = "zq7391842"
MOST_CHECKED = 200
"""Rows of a file, of which the rest is read alone: to look at a row takes longer than to read it."""


def lines(rng: random.Random) -> None:
    """The import and the trainings take each line of a file for the same row, or both refuse it."""
    content = b'{"id": 1}\n' + b"".join(_line(rng) for _ in range(rng.randint(1, 6)))
    with tempfile.TemporaryDirectory(prefix="hone-fuzz-") as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(content)
        try:
            one, other = by_import(path), by_training(path)
        except BadFile:
            return  # another kind of file to the import, by its first bytes
    assert json.dumps(one) == json.dumps(other), f"{one} or {other}, of {content[:400]!r}"


def _line(rng: random.Random) -> bytes:
    line = rng.choice(LINES)[0][:4_000]
    if rng.random() < 0.5:
        line = hostile_data.dumped(rng, hostile_data.odd_row(rng)[1]).encode("utf-8", "surrogatepass") + b"\n"
    return hostile_data.damaged(rng, line) if rng.random() < 0.5 else line


def rows(rng: random.Random) -> None:
    """A row of any format is one that can be stored, or has a reason."""
    format, row = hostile_data.odd_row(rng)
    _check_row(IMPORTERS[format], row)
    for module in IMPORTERS.values():
        assert module.recognises(row) in (True, False), module.NAME


def _check_row(module: Any, row: dict[str, Any]) -> None:
    try:
        found = parsed(module, row)
    except (BadRow, LeftOut) as reason:
        _check_reason(reason)
        return
    for each in found:
        _check(each)


def _check(row: Any) -> None:
    if isinstance(row, BadRow | LeftOut):
        _check_reason(row)
        return
    assert isinstance(row, ImportedRow), row
    stored = json.dumps(dataclasses.asdict(row), ensure_ascii=False, allow_nan=False)
    stored.encode()
    assert not any("\0" in written for written in strings(json.loads(stored)))


def _check_reason(reason: Exception) -> None:
    said = str(reason)
    assert said.strip(), repr(reason)
    assert len(said) < 1_000, f"a reason of {len(said)} characters"
    said.encode()


def unknown_keys(rng: random.Random) -> None:
    """A key that no format knows, in whichever object of a row, is named where the row is taken."""
    format, row = rng.choice(ROWS)
    inside = [(), *(place for place in places(row) if isinstance(_at(row, place), dict))]
    place = rng.choice(inside)
    row = changed(row, (*place, UNKNOWN), rng.choice([TOKEN, {"a": TOKEN}, [TOKEN]]))
    _check_nothing_vanishes(format, row, f"{UNKNOWN} in {place}", UNKNOWN)


def values(rng: random.Random) -> None:
    """A text in place of any other value is kept, named, or breaks the row."""
    format, row = rng.choice(ROWS)
    place = rng.choice([place for place in places(row) if not isinstance(_at(row, place), dict | list)])
    row = changed(row, place, TOKEN)
    names = [key for key in place if isinstance(key, str)]
    _check_nothing_vanishes(format, row, f"the value of {place}", names[-1])


def _check_nothing_vanishes(format: str, row: dict[str, Any], what: str, key: str) -> None:
    try:
        found = parsed(IMPORTERS[format], row)
    except (BadRow, LeftOut):
        return
    kept = json.dumps([dataclasses.asdict(each) for each in found if isinstance(each, ImportedRow)])
    named = [path for each in found if isinstance(each, ImportedRow) for path, _reason in each.not_kept]
    said = " ".join(str(each) for each in found if isinstance(each, BadRow | LeftOut))
    known = any(path.split(".")[-1] == key or key in path.split(".") for path in named)
    assert TOKEN in kept or known or said, f"{format}: {what} is neither kept nor named, only {named}"


def _at(row: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        row = row[key]
    return row


def files(rng: random.Random) -> None:
    """A file of any kind is read to its end, or refused with a sentence."""
    name, content = hostile_data.file(rng)
    with tempfile.TemporaryDirectory(prefix="hone-fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            format = detect(path)
            for number, (place, each) in enumerate(rows_of(path, format)):
                assert place
                for one in each if isinstance(each, list) else [each]:
                    if number < MOST_CHECKED:
                        _check(one)
        except BadFile as reason:
            _check_reason(reason)


PARTS = [
    Part("lines", lines, seconds=1.0),
    Part("rows", rows, seconds=0.5),
    Part("unknown_keys", unknown_keys, seconds=0.5),
    Part("values", values, seconds=0.5),
    Part("files", files, seconds=3.0),
]
