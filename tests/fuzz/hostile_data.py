"""What is thrown: texts, JSON values, rows of every format, and files, each from one source of randomness."""

import copy
import datetime
import gzip
import io
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.annotate.data.test_json_readers import LINES
from tests.annotate.data.test_odd_rows import ODD, ROWS, changed, places
from tests.annotate.rendering.test_rendered_letters import PIECES
from tests.texts import adversarial, hostile

SHAPES = list(adversarial.TEXTS.values())
SPELLED = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<bos>", "<image>", "[INST]", "<|eot_id|>"]
SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".gz", ".csv.gz", ".jsonl.gz", "", ".xlsx"]
ODD_BYTES = [b"\0", b"\n", b"\r", b'"', b"{", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0"]
ENCODINGS = ["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "gb18030"]


def character(rng: random.Random) -> str:
    """One of Unicode, more often of the parts that people write with; never half of a pair."""
    low, high = rng.choice([(32, 126), (0xA0, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x206F), (1, 0x10FFFF)])
    code = rng.randint(low, high)
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)


def text(rng: random.Random, *, longest: int = 60_000) -> str:
    """A text that can be stored, of one of many shapes, or of pieces of several."""
    makers: list[Callable[[], str]] = [
        lambda: "".join(rng.choices(PIECES, k=rng.randint(0, 40))),
        lambda: "".join(rng.choice(PIECES) + rng.choice(PIECES) * rng.randint(1, 30) for _ in range(rng.randint(1, 9))),
        lambda: rng.choice(hostile.TEXTS),
        lambda: rng.choice(SHAPES)[: rng.choice([20, 200, 3_000, 60_000])],
        lambda: "".join(character(rng) for _ in range(rng.randint(0, 80))),
        lambda: "".join(rng.choices([*SPELLED, *"ab <>|_/[]\n"], k=rng.randint(1, 20))),
        lambda: spliced(rng, rng.choice(hostile.TEXTS), rng.choice(SHAPES)[:500]),
        lambda: spliced(rng, rng.choice(SHAPES)[:2_000], "".join(rng.choices(PIECES, k=20))),
        lambda: rng.choice(["```", "~~~"]) + language(rng) + "\n" + rng.choice(SHAPES)[: rng.randint(1, 9_000)],
    ]
    return rng.choice(makers)()[:longest].replace("\0", "\ufffd")


def language(rng: random.Random) -> str:
    from annotate.rendering import highlighting

    return rng.choice([*highlighting.LANGUAGES, "nonesuch"])


def spliced(rng: random.Random, one: str, other: str) -> str:
    """Pieces of two texts by turns."""
    parts = [source[start : start + rng.randint(1, 40)] for source in (one, other) * rng.randint(1, 6)
             for start in (rng.randint(0, max(0, len(source) - 1)),)]  # fmt: skip
    return "".join(parts)


def value(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value, or what a table may hold beside those."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return copy.deepcopy(rng.choice(ODD))
    if kind < 3:
        return text(rng, longest=200)
    if kind < 5:
        return rng.choice([rng.randint(-9, 9), rng.random(), 10 ** rng.randint(0, 30), None, True, False])
    if kind < 7:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {text(rng, longest=12): value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def odd_row(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A row of some format, with some of its values, at any depth, taken by others."""
    format, row = rng.choice(ROWS)
    row = copy.deepcopy(row)
    for _ in range(rng.randint(0, 3)):
        if found := list(places(row)):
            row = changed(row, rng.choice(found), value(rng))
    if rng.random() < 0.3:
        row[text(rng, longest=20)] = value(rng)
    return format, row


def plain(found: Any) -> Any:
    """As JSON can say it."""
    return json.loads(json.dumps(found, default=str))


def file(rng: random.Random) -> tuple[str, bytes]:
    """(name, bytes) of a file that is one of those which are read, or nearly."""
    rows = [odd_row(rng)[1] for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.4:
        _format, row = rng.choice(ROWS)
        rows = [copy.deepcopy(row) for _ in range(rng.randint(1, 4))]
    makers: list[Callable[[], bytes]] = [
        lambda: encoded(rng, "\n".join(dumped(rng, row) for row in rows)),
        lambda: encoded(rng, "[" + ",".join(dumped(rng, row) for row in rows) + "]"),
        lambda: encoded(rng, table(rng, rows)),
        lambda: parquet(rng, rows),
        lambda: encoded(rng, text(rng)),
        lambda: b"".join(rng.choice(LINES)[0][:3_000] for _ in range(rng.randint(1, 8))),
        lambda: rng.randbytes(rng.randint(0, 3_000)),
    ]
    content = rng.choice(makers)()
    if rng.random() < 0.4:
        content = damaged(rng, content)
    suffix = rng.choice(SUFFIXES)
    if suffix.endswith("gz") or rng.random() < 0.1:
        content = gzip.compress(content, mtime=0)
        content = damaged(rng, content) if rng.random() < 0.2 else content
    return "file" + suffix, content


def dumped(rng: random.Random, row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=rng.random() < 0.5, default=str)


def encoded(rng: random.Random, written: str) -> bytes:
    return written.encode(rng.choice(ENCODINGS), "replace")


def table(rng: random.Random, rows: list[dict[str, Any]]) -> str:
    """A table by hand: with quotes that are not always closed, and lines that are not always as long."""
    delimiter = rng.choice([",", ";", "\t", "|"])
    keys = list(dict.fromkeys(key for row in rows for key in row))
    quote = rng.choice(['"{}"', "{}", '"{}'])
    cells = [keys, *([row.get(key, "") for key in keys[: rng.randint(1, len(keys) + 1)]] for row in rows)]
    return "\n".join(
        delimiter.join(quote.format(cell if isinstance(cell, str) else json.dumps(cell, default=str)) for cell in line)
        for line in cells
    )


def parquet(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    written = io.BytesIO()
    try:
        found = pa.Table.from_pylist([plain(row) for row in rows])
        pq.write_table(found, written, compression=rng.choice(["snappy", "gzip", "none"]))
    except (pa.ArrowException, UnicodeError, OverflowError, ValueError):
        when = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        pq.write_table(pa.table({"prompt": ["a", None], "x": [when, when], "y": [b"\xff", None]}), written)
    return written.getvalue()


def damaged(rng: random.Random, content: bytes) -> bytes:
    """With some bytes changed, left out, doubled or put in."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = rng.randint(0, len(found))
        match rng.randrange(4):
            case 0:
                found[place : place + 1] = rng.randbytes(1)
            case 1:
                del found[place : place + rng.randint(1, 50)]
            case 2:
                found[place:place] = found[place : place + rng.randint(1, 50)]
            case _:
                found[place:place] = rng.choice(
                    [b"\0", b"\n", b"\r", b'"', b"{", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0"]
                )
    return bytes(found)
