"""Files and rows in other formats: one sentence that names the format and the way to what is read here."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser

ROW = {"id": "1", "prompt": [{"role": "user", "content": "a, b"}], "chosen": "x", "rejected": "y"}
LINE = (json.dumps(ROW) + "\n").encode()
IMPORT = (
    "`manage.py import_data PROJECT FILE` reads it, and `manage.py export_data PROJECT --format hone --out FOLDER` "
    "writes the rows that are read here."
)
HH = "\n\nHuman: Hi\n\nAssistant: Hello"


def parquet(path):
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a"]}), path)


FILES = {
    "rows.jsonl.gz": (gzip.compress(LINE), "is compressed by gzip, and here JSON lines are read: unpack it first: gz"),
    "rows.zip": (b"PK\x03\x04" + LINE, "is a ZIP archive, and here JSON lines are read: unpack it first."),
    "rows.zst": (b"\x28\xb5\x2f\xfd" + LINE, "is compressed by Zstandard, and here JSON lines are read"),
    "rows.json": (json.dumps([ROW]).encode(), "looks like a JSON array, not JSON lines, and here JSON lines are read"),
    "pretty.json": (json.dumps([ROW], indent=1).encode(), "looks like a JSON array, not JSON lines"),
    "object.json": (json.dumps(ROW, indent=1).encode(), "is one JSON document over several lines, and here"),
    "rows.csv": (b"id,prompt,chosen,rejected\n1,a,b,c\n", "looks like comma-separated values (CSV), and here"),
    "named.jsonl": (b"id,prompt,chosen,rejected\n1,a,b,c\n", "looks like comma-separated values (CSV), and here"),
    "rows.tsv": (b"id\tprompt\n1\ta\n", "looks like tab-separated values (TSV), and here JSON lines are read"),
    "wide.jsonl": (LINE.decode().encode("utf-16"), "is UTF-16 text, and here JSON lines are read: convert it first"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_another_format_is_named_with_the_way(tmp_path, name):
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    for skipped in (None, list[str]()):
        with pytest.raises(BadInput) as caught:
            row_parser.read(tmp_path / name, "rankings", unreadable=skipped)
        assert str(caught.value).startswith(f"{name} {sentence}")


def test_a_parquet_file_is_named(tmp_path):
    parquet(tmp_path / "rows.jsonl")
    with pytest.raises(BadInput, match=r"rows.jsonl is a Parquet file, and here JSON lines are read: convert it first"):
        row_parser.read(tmp_path / "rows.jsonl", "rankings")


@pytest.mark.parametrize(
    ("row", "kind", "what"),
    [
        ({"chosen": HH, "rejected": HH + "!"}, "rankings", 'HH (whole dialogues as "chosen" and "rejected")'),
        ({"instruction": "a", "input": "", "output": "b"}, "demonstrations", 'Alpaca ("instruction", "output")'),
        ({"id": "1", "prompt": "a", "chosen": "b", "rejected": "c"}, "rankings", 'plain texts (the "prompt" is a text'),
        (
            {"prompt": ROW["prompt"], "chosen": [{"role": "assistant", "content": "b"}], "rejected": []},
            "rankings",
            'TRL (lists of turns as "chosen", "rejected" or "completion")',
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "prompts", 'a chat data set ("messages")'),
        ({"conversations": [{"from": "human", "value": "a"}]}, "demonstrations", 'ShareGPT ("conversations")'),
    ],
)
def test_a_row_in_another_format_is_named_with_its_line_and_the_way(tmp_path, row, kind, what):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        row_parser.read(path, kind)
    said = str(caught.value)
    assert said.startswith("rows.jsonl, line 1: ")
    assert f"this looks like a row of {what}" in said
    assert said.endswith(IMPORT)


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n", "  "])
def test_rows_that_are_read_here_are_not_taken_for_anything_else(tmp_path, start):
    path = tmp_path / "rows.csv"
    path.write_bytes(start.encode() + LINE)
    assert len(row_parser.read(path, "rankings")) == 1
