"""Plain text as documents, and documents as rows of tokens that predict every token once.

A document is what belongs together: attention never leaves it, and it ends with EOS. In a .jsonl file each row's "text"
is one. In a .txt file blank lines part documents, by one of these rules:

- `blocks`: a blank line does. A block of fewer than `SHORT` bytes (a heading, a verse) belongs to the block after it.
- `sections`: two or more blank lines do; single ones stand inside the document.
- `file`: nothing does, the file is one document.
- `auto`: `sections` where the file has two blank lines in a row anywhere between texts, else `blocks`.

The same text twice is one document: otherwise it would be learned, and measured, twice.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.rows.prompt_identity import position, text_digest
from models_core.modeling import plain_text
from models_core.modeling.packing import Group

SHORT = 200
"""Bytes of UTF-8 below which a block is no document of its own."""
HELD_OUT_OVERLAP = 0.5
"""Part of a window that is context for the rest, where a text is measured and not learned from."""
BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")
BLANKS = re.compile(r"\n(?:[^\S\n]*\n){2,}")


def read(path: str | Path, *, rule: str = "auto") -> list[str]:
    """The documents of a file, in order, each once. Raises BadInput."""
    path = Path(path)
    texts = row_parser.read(path, "documents") if path.suffix == ".jsonl" else _documents(_text(path), rule=rule)
    documents = [document for text in texts if (document := text.strip("\n"))]
    if not any(document.strip() for document in documents):
        raise BadInput(f"{path.name}: there is no text in it.")
    return list(dict.fromkeys(document for document in documents if document.strip()))


def _text(path: Path) -> str:
    """A text file with plain line ends. Raises BadInput that names the place where it is none."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path.name}, line {line}: not UTF-8 text (byte {error.start + 1} of the file).") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadInput(f"{path.name}, line {line}: contains a NUL character, so it is no text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _documents(text: str, *, rule: str) -> Iterator[str]:
    if rule == "file":
        yield text
        return
    if rule == "sections" or (rule == "auto" and BLANKS.search(text.strip())):
        yield from BLANKS.split(text)
        return
    waiting = ""
    for block in BLANK.split(text):
        waiting = f"{waiting}\n\n{block}" if waiting else block
        if len(waiting.encode()) >= SHORT:
            yield waiting
            waiting = ""
    yield waiting


def split(documents: Sequence[str], *, held_out: float) -> tuple[list[str], list[str]]:
    """(to learn from, held out): by a hash of the document, so it is on the same side in every corpus and every run."""
    sides: tuple[list[str], list[str]] = ([], [])
    for document in documents:
        sides[position(text_digest(document)) < held_out].append(document)
    return sides


def encode(documents: Sequence[str], tokenizer: Any, *, ends: bool = True) -> list[list[int]]:
    """Token ids of each document, with EOS unless `ends` is off.

    An added token that a text spells out stays plain text.
    """
    end = [tokenizer.eos_token_id] if ends else []
    return [ids + end for ids in plain_text.encode_documents(tokenizer, documents)]


def rows(encoded: Sequence[Sequence[int]], *, start: int, max_length: int, overlap: float) -> list[Group]:
    """Rows of at most `max_length` tokens in which every token of every document is predicted exactly once.

    A row's prompt is context and its response what is predicted. A document's first token is predicted from the id
    `start`. One that is too long is cut into windows; each begins with the last tokens of the one before, `overlap`
    of its length, so that no token is predicted from next to nothing just because it stands behind a cut.
    """
    context = min(max(1, round(overlap * max_length)), max_length - 1)
    groups = []
    for ids in encoded:
        row = [start, *ids]
        end = 1
        while end < len(row):
            first = max(0, end - context) if end > 1 else 0
            last = min(first + max_length, len(row))
            groups.append(Group(row[first:end], [row[end:last]]))
            end = last
    return groups


def predicted(groups: Sequence[Group]) -> int:
    """How many tokens the rows predict."""
    return sum(len(group.responses[0]) for group in groups)


def size(documents: Sequence[str]) -> int:
    """Bytes of UTF-8: the measure that does not depend on a tokenizer."""
    return sum(len(document.encode()) for document in documents)


def bits_per_byte(loss: float, *, tokens: int, size: int) -> dict[str, float]:
    """Loss in nats per token, perplexity and bits per byte of text of `tokens` tokens and `size` bytes.

    The bits of an EOS count towards bits per byte; it has no bytes.
    """
    return {
        "eval_loss": loss,
        "perplexity": math.exp(loss) if loss < 700 else math.inf,
        "bits_per_byte": loss * tokens / math.log(2) / size,
    }
