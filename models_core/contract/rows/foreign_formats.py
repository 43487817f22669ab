"""Files and rows in formats that models_core doesn't read: named, with the way to the rows it reads.

Standard library only.
"""

from pathlib import Path
from typing import Any

HEAD_BYTES = 4096
MAGIC = {
    b"\x1f\x8b": ("is compressed by gzip", "gzip"),
    b"BZh": ("is compressed by bzip2", "packed"),
    b"\xfd7zXZ\0": ("is compressed by xz", "packed"),
    b"\x28\xb5\x2f\xfd": ("is compressed by Zstandard", "packed"),
    b"PK\x03\x04": ("is a ZIP archive", "packed"),
    b"PAR1": ("is a Parquet file", "parquet"),
    b"ARROW1": ("is an Arrow file", "parquet"),
    b"SQLite format 3\0": ("is an SQLite database", "convert"),
    b"\xff\xfe": ("is UTF-16 text", "utf-16"),
    b"\xfe\xff": ("is UTF-16 text", "utf-16"),
}
IMPORT = "`manage.py import_data PROJECT FILE` reads it, and `manage.py export_data PROJECT --format hone --out FOLDER`"
WAYS = {
    "gzip": "unpack it first: gzip -d FILE",
    "packed": "unpack it first",
    "parquet": 'convert it first: python -c \'import pandas; pandas.read_parquet("FILE").to_json("rows.jsonl", '
    'orient="records", lines=True, force_ascii=False)\'',
    "utf-16": "convert it first: iconv -f UTF-16 -t UTF-8 FILE > rows.jsonl",
    "convert": "write its rows as JSON lines first",
    "import": f"{IMPORT} writes the rows that are read here",
}


def of_file(head: bytes, *, name: str) -> str | None:
    """Which other format a file is in, by its first bytes, and the way, as one sentence; None where it may be ours."""
    for magic, (what, way) in MAGIC.items():
        if head.startswith(magic):
            return _sentence(name, what, way)
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("["):
        return _sentence(name, "looks like a JSON array, not JSON lines", "import")
    if text.startswith("{"):
        first = text.split("\n")[0].strip()
        return _sentence(name, "is one JSON document over several lines", "convert") if first == "{" else None
    first = text.split("\n")[0]
    suffix = Path(name).suffix.lower()
    if suffix == ".tsv" or (text and "\t" in first and suffix != ".jsonl"):
        return _sentence(name, "looks like tab-separated values (TSV)", "import")
    if suffix == ".csv" or _is_header(first):
        return _sentence(name, "looks like comma-separated values (CSV)", "import")
    return None


def of_row(row: dict[str, Any]) -> str | None:
    """Which other format a row is in and the way, as a phrase without a full stop; None where none is recognised."""
    if (what := _kind_of(row)) is None:
        return None
    return f"this looks like a row of {what}: {WAYS['import']}"


def _kind_of(row: dict[str, Any]) -> str | None:
    if "instruction" in row and "output" in row:
        return 'Alpaca ("instruction", "output")'
    if "prompt" not in row and all(isinstance(row.get(key), str) for key in ("chosen", "rejected")):
        return 'HH (whole dialogues as "chosen" and "rejected")'
    if any(isinstance(row.get(key), list) for key in ("chosen", "rejected", "completion")):
        return 'TRL (lists of turns as "chosen", "rejected" or "completion")'
    if isinstance(row.get("messages"), list):
        return 'a chat data set ("messages")'
    if isinstance(row.get("conversations"), list) or isinstance(row.get("conversation"), list):
        return 'ShareGPT ("conversations")'
    if isinstance(row.get("prompt"), str):
        return 'plain texts (the "prompt" is a text, not a list of turns)'
    return None


def _sentence(name: str, what: str, way: str) -> str:
    return f"{name} {what}, and here JSON lines are read: {WAYS[way]}."


def _is_header(line: str) -> bool:
    """Whether a line may be the head of a table: words between commas, and no JSON."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    return len(cells) > 1 and all(cell.replace("_", "").replace(" ", "").isalnum() and len(cell) < 40 for cell in cells)
