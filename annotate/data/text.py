"""Text from outside, checked once: what neither a database nor a UTF-8 file can hold."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import Refused

LONGEST_RESPONSE = 100_000
"""Characters of what a labeler writes."""
# NUL as json.dumps writes it, which PostgreSQL's jsonb refuses; an escaped backslash before "u0000" is harmless text.
ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def flaw(text: str) -> str | None:
    """Why a text can't be stored, as the end of a sentence, or None where nothing is wrong."""
    if "\0" in text:
        return "contains a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "contains half of a surrogate pair"
    return None


def row_number(written: str) -> int | None:
    """The number of a row that an address names; None for what is no number that a database holds."""
    return int(written) if written.isdecimal() and len(written) < 19 else None


def query_value(given: Mapping[str, str], name: str, *, longest: int) -> str:
    """A value of an address that rows are compared with, as databases take it: PostgreSQL compares with no NUL."""
    return given.get(name, "").replace("\0", "").strip()[:longest]


def checked(text: Any, *, name: str, longest: int) -> str:
    """The text, if it's a storable one of at most `longest` characters. Raises Refused (400)."""
    if not isinstance(text, str):
        raise Refused(_("%(name)s must be text.") % {"name": name}, status=400)
    if reason := flaw(text):
        raise Refused(f"{name} {reason}.", status=400)
    if len(text) > longest:
        raise Refused(
            _("%(name)s is longer than %(longest)s characters.") % {"name": name, "longest": f"{longest:,}"}, status=400
        )
    return text


def as_written(written: str) -> str:
    """What somebody wrote, as it is kept: every space, and lines that end in \\n, which browsers send as \\r\\n.

    Empty for a text of nothing but space.
    """
    return written.replace("\r\n", "\n") if written.strip() else ""


def checked_object(value: Any, *, name: str, longest: int) -> dict[str, Any]:
    """A JSON object of storable texts, at most `longest` characters as JSON. Raises Refused (400)."""
    if not isinstance(value, dict):
        raise Refused(_("%(name)s must be a JSON object.") % {"name": name}, status=400)
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Refused(
            _("%(name)s must be a JSON object of finite numbers and texts.") % {"name": name}, status=400
        ) from None
    if ESCAPED_NUL.search(written):
        raise Refused(_("%(name)s contains a NUL character.") % {"name": name}, status=400)
    checked(written, name=name, longest=longest)
    return value


def same_in_substance(one: str, other: str) -> bool:
    """Whether two texts differ in nothing that a reader sees: how lines end, spaces, composed or decomposed letters.

    In a block of code, between lines of ```, the space that begins a line is substance.
    """
    return _substance(one) == _substance(other)


def _substance(written: str) -> list[str]:
    words: list[str] = []
    in_code = False
    for line in unicodedata.normalize("NFC", written).replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif in_code and line.strip():
            words.append(line[: len(line) - len(line.lstrip())])
        words += line.split()
    return words
