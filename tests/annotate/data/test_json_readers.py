"""The import and the training commands read the same JSON lines as the same rows, and refuse the same ones."""

from pathlib import Path
from typing import Any

import pytest

from annotate.formats import files
from annotate.formats.rows import BadRow
from models_core.contract.rows import json_lines

FIRST = b'{"id": 1}\n'
BOM = b"\xef\xbb\xbf"
DEEP = 100_000
PARTING = "\u2028\u2029\u0085"
BAD = "bad"
BLANK = "blank"
# The second line of a file, and what it is.
LINES: list[tuple[bytes, Any]] = [
    (b'{"prompt": "a"}\n', {"prompt": "a"}),
    (b'{"prompt": "a"}', {"prompt": "a"}),
    (b' \t{"prompt": "a"} \r\n', {"prompt": "a"}),
    (b'{"prompt":\r"a"}\n', {"prompt": "a"}),
    (f'{{"prompt": "a{PARTING}b"}}\n'.encode(), {"prompt": f"a{PARTING}b"}),
    (b'{"prompt": "  a  "}\n', {"prompt": "  a  "}),
    ('{"prompt": "e\u0301"}\n'.encode(), {"prompt": "e\u0301"}),
    (b'{"prompt": "\\ud83d\\ude00"}\n', {"prompt": "\U0001f600"}),
    (b'{"prompt": [{"a": 1}, {"a": 2}]}\n', {"prompt": [{"a": 1}, {"a": 2}]}),
    (b'{"x": 12345678901234567890}\n', {"x": 12345678901234567890}),
    (b"\n", BLANK),
    (b" \t \r\n", BLANK),
    (PARTING.encode() + b"\n", BLANK),
    (b"\x0c\n", BLANK),
    (b'{"a": 1, "a": 1}\n', BAD),
    (b'{"": 1, "": 2}\n', BAD),
    (b'{"x": {"a": 1, "a": 2}}\n', BAD),
    (b'{"x": [[{"a": 1, "a": 2}]]}\n', BAD),
    (b'{"a": 1, "\\u0061": 2}\n', BAD),
    (b'{"x": NaN}\n', BAD),
    (b'{"x": [Infinity]}\n', BAD),
    (b'{"x": {"y": -Infinity}}\n', BAD),
    (b'{"x": 1e999}\n', BAD),
    (b'{"x": [[-1e999]]}\n', BAD),
    (b'{"x": ' + b"9" * 5_000 + b"}\n", BAD),
    (b'{"x": [' + b"9" * 309 + b"]}\n", BAD),
    (b'{"x": 1' + b"0" * 308 + b"}\n", {"x": 10**308}),
    (b'{"x": "a\0b"}\n', BAD),
    (b'{"x": "a\tb"}\n', BAD),
    (b'{"x": "\xff"}\n', BAD),
    (b'{"x": "\xed\xa0\x80"}\n', BAD),
    (BOM + b'{"x": 1}\n', BAD),
    ("\u2028".encode() + b'{"x": 1}\n', BAD),
    ("\u00a0".encode() + b'{"x": 1}\n', BAD),
    (b'{"x": 1} {"x": 2}\n', BAD),
    (b'{"x": 1,}\n', BAD),
    (b"{'x': 1}\n", BAD),
    (b'{"x": 1\n', BAD),
    (b"[1]\n", BAD),
    (b'"a"\n', BAD),
    (b"null\n", BAD),
    (b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}\n", BAD),
    (b'{"x": ' + b'{"x": ' * DEEP + b"1" + b"}" * DEEP + b"}\n", BAD),
]


def by_import(path: Path) -> list[Any]:
    return [(place, BAD if isinstance(row, BadRow) else row) for place, row in files.objects(path)]


def by_training(path: Path) -> list[Any]:
    found: list[Any] = []
    with path.open("rb") as file:
        for number, raw in json_lines.numbered(file):
            try:
                row = json_lines.given(raw, first=number == 1)
            except json_lines.BadLine:
                found.append((f"line {number}", BAD))
            else:
                found += [] if row is None else [(f"line {number}", row)]
    return found


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[ascii(line[:40])[2:-1] for line, _expected in LINES])
def test_both_readers_take_a_line_for_the_same(tmp_path, line, expected):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(FIRST + line + (b"" if line.endswith(b"\n") else b"\n") + b'{"id": 3}')
    middle = [] if expected is BLANK else [("line 2", expected)]
    wanted = [("line 1", {"id": 1}), *middle, ("line 3", {"id": 3})]
    assert (by_import(path), by_training(path)) == (wanted, wanted)


def test_both_readers_pass_over_the_mark_that_begins_a_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(BOM + FIRST)
    assert by_import(path) == by_training(path) == [("line 1", {"id": 1})]


def test_a_line_of_any_length_is_one_line_for_training(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 20)
    path = tmp_path / "rows.jsonl"
    for length in range(15, 90):
        path.write_bytes(b'{"x": "' + b"a" * length + b'"}\n' + FIRST)
        assert by_training(path) == [("line 1", BAD), ("line 2", {"id": 1})]
