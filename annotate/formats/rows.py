"""A row of an imported file as Hone understands it, whatever format it came in, and how its fields are read.

Every format reads a row through `Fields`, which knows what was asked for: a key that nobody asked for, at any depth, is
named in the report of the import, as is a value that could not be kept. So nothing of a file is lost in silence.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Protocol, TypedDict

from django.db import models
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.models.data.prompt import content_hash

LONGEST_TEXT = 1_000_000
LONGEST_LABEL = 200
LONGEST_KEY = 60
MOST_TURNS = 500
MOST_RESPONSES = 64
HIGHEST_RANK = 1_000_000
NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
WORDS = {"true": True, "yes": True, "false": False, "no": False}
Messages = list[dict[str, str]]


class BadRow(Exception):
    """Why a row is broken, as the end of a sentence; the reader adds where. Nothing of the file is imported.

    values: the row itself, where it could be read.
    """

    values: dict[str, Any] | None = None


Row = dict[str, Any] | BadRow
"""What a file's reader gives for each row."""


class LeftOut(Exception):
    """Why a sound row has no place in Hone, as a phrase; the others are imported, and the report counts these.

    values: the row itself.
    """

    values: dict[str, Any] | None = None


class WrittenBy(TypedDict, total=False):
    """The author of a text, as the fields of a response."""

    model: str
    author_kind: str


def by_model(name: str) -> WrittenBy:
    """A model of this name, or whoever it was where a row names none."""
    return {"model": name, "author_kind": "model" if name else "unknown"}


@dataclass(frozen=True, kw_only=True)
class ImportedResponse:
    """A response that came with a row.

    model: who wrote it, a model or, where author_kind is "person", a person; empty where nobody says. author_kind:
    "model", "person" or "unknown". rank: 1 is best, equal ranks are tied, None was not ranked. score: a judge's number.
    note: what was remarked about it.
    """

    text: str
    model: str = ""
    author_kind: str = "unknown"
    rank: int | None = None
    score: float | None = None
    acceptable: bool = True
    ratings: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    note: str = ""
    finish_reason: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class ImportedRow:
    """A prompt, perhaps with an ideal response or with responses, which perhaps somebody has ranked or rated.

    Names who judged or wrote are as in the file; `task` groups the judgments of several labelers on the same responses.
    record_id: what the row calls itself, where `id` is the one that it came from.
    source: None where the row doesn't say; an empty one is said to be empty.
    language, kind, use_case, sensitive: None or empty where the row doesn't say. prompt_id: where it isn't the row's.
    opening: the prompt that the chat began as, which decides the side of the split. ranked: a judgment of an order;
    rated: one of a single response; gold: a known order, which is no judgment.
    author, author_kind: who wrote the demonstration. judge: human or ai; judge_name: of an AI, if it has one.
    weight: what the judgment counts, None as much as any. scale: what ratings or scores mean. timestamp: when it was
    judged, as the row says. rubric, revision: versions of the rubric and of the judgment, as in Hone's own exports;
    None where the row doesn't say.
    not_kept: (key, why) of what the row said and Hone doesn't keep.
    """

    messages: Messages
    id: str = ""
    record_id: str = ""
    prompt_id: str = ""
    language: str = ""
    source: str | None = None
    kind: str = ""
    use_case: str = ""
    sensitive: bool | None = None
    split: str = ""
    opening: Messages | None = None
    demonstration: str | None = None
    finish_reason: str = ""
    responses: tuple[ImportedResponse, ...] = ()
    ranked: bool = False
    rated: bool = False
    gold: bool = False
    labeler: str = ""
    author: str = ""
    author_kind: str = "unknown"
    judge: str = "human"
    judge_name: str = ""
    task: str = ""
    margin: int | None = None
    weight: float | None = None
    seconds: float | None = None
    scale: str = ""
    comment: str = ""
    timestamp: str = ""
    rubric: int | None = None
    revision: int | None = None
    not_kept: tuple[tuple[str, str], ...] = ()

    @cached_property
    def content_hash(self) -> str:
        """Of the prompt."""
        return content_hash(self.messages)

    @cached_property
    def opening_hash(self) -> str | None:
        return content_hash(self.opening) if self.opening else None


class Fields:
    """A JSON object of a row, read key by key. `close` names what nobody read.

    notes: (path of the key, why it isn't kept; empty where Hone has no place for it) of the whole row.
    """

    def __init__(
        self, values: dict[str, Any], *, notes: "Counter[tuple[str, str]] | None" = None, path: str = ""
    ) -> None:
        self.values = values
        self.notes: Counter[tuple[str, str]] = Counter() if notes is None else notes
        self.path = path
        self._read: set[str] = set()
        self._inner: list[Fields] = []

    def __contains__(self, key: str) -> bool:
        """Whether the row says something under this key: null and an empty text say nothing."""
        return self.values.get(key) not in (None, "")

    def raw(self, key: str) -> Any:
        """The value, whatever it is; the key counts as read."""
        self._read.add(key)
        return self.values.get(key)

    def ignore(self, *keys: str) -> None:
        """Keys that say nothing beside others: counts of a list that is there, the number of the row."""
        self._read.update(keys)

    def leave(self, key: str, reason: str = "") -> None:
        """The key is read and its value isn't kept, for this reason."""
        self._read.add(key)
        self.notes[self.path + shown_key(key), reason] += 1

    def text(self, key: str, *, name: str = "", longest: int = LONGEST_TEXT) -> str:
        """A text that must be there."""
        return text_of(self.raw(key), name or self.named(key), longest=longest)

    def label(self, key: str, *, longest: int = LONGEST_LABEL) -> str:
        """An id, a name, a source: numbers are taken as text, nothing as an empty one; a long one is cut, and named."""
        value = self.raw(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        written = "" if value is None else text_of(value, self.named(key)).strip()
        if len(written) > longest:
            self.leave(key, _("cut at %(longest)d characters") % {"longest": longest})
        return written[:longest]

    def number(
        self, key: str, *, low: float | None = None, high: float | None = None, strict: bool = False
    ) -> float | None:
        """A finite number, or a text that is one. What is none isn't kept, or with `strict` breaks the row."""
        value = self.raw(key)
        if value is None or value == "":
            return None
        number = number_of(value, self.named(key))
        if number is not None and (low is None or number >= low) and (high is None or number <= high):
            return number
        bounds = "" if low is None else (_(" from %(low)g on") if high is None else _(" from %(low)g to %(high)g"))
        if strict:
            raise BadRow(
                _("%(name)s must be a number%(bounds)s")
                % {"name": self.named(key), "bounds": bounds % {"low": low, "high": high} if bounds else ""}
            )
        self.leave(
            key, _("not a number") if number is None else _("not a number") + bounds % {"low": low, "high": high}
        )
        return None

    def flag(self, key: str) -> bool | None:
        """True, false or nothing, also as the words of a table. Raises BadRow for anything else."""
        value = self.raw(key)
        word = value.strip().lower() if isinstance(value, str) else value
        if word is None or word == "":
            return None
        if isinstance(word, bool):
            return word
        if isinstance(word, str) and word in WORDS:
            return WORDS[word]
        raise BadRow(_("%(name)s must be true, false or null") % {"name": self.named(key)})

    def choice(self, key: str, allowed: type[models.TextChoices], *, aliases: dict[str, str] | None = None) -> str:
        """One of Hone's words, by its value or its label however it is written; others' words are named, not kept."""
        value = self.raw(key)
        if value is None or value == "":
            return ""
        if isinstance(value, str):
            # Labels are translated, and most rows have the value itself.
            if value in _values(allowed):
                return value
            word = _word(value)
            options = {_word(str(name)): option for option, label in allowed.choices for name in (option, label)}
            words = options | (aliases or {})
            if word in words:
                return words[word]
        self.leave(key, _("not a word that Hone knows for it"))
        return ""

    def zero_or_one(self, key: str) -> int:
        """Which of two, that must be said."""
        value = self.number(key, strict=True)
        if value not in (0, 1):
            raise BadRow(_("%(name)s must be 0 or 1") % {"name": self.named(key)})
        return int(value)

    def texts(self, key: str, *, longest: int = LONGEST_TEXT) -> list[str]:
        """A list of texts."""
        items = self.raw(key)
        if not isinstance(items, list):
            raise BadRow(_("%(name)s must be a list of texts") % {"name": self.named(key)})
        return [text_of(item, self.named(key), longest=longest) for item in items]

    def object(self, key: str) -> "Fields":
        """A JSON object that must be there."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise BadRow(_("%(name)s must be an object") % {"name": self.named(key)})
        return self.within(key, value)

    def objects(self, key: str, *, name: str = "") -> list["Fields"]:
        """A list of JSON objects, each to be read in turn."""
        items = self.raw(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BadRow(_("%(name)s must be a list of objects") % {"name": name or self.named(key)})
        return [self.within(key, item) for item in items]

    def within(self, key: str, value: dict[str, Any]) -> "Fields":
        """An object inside this one, read on its own; what it holds is named with the key before it."""
        self._read.add(key)
        # A tree, such as replies to replies, has one name for a key at any depth.
        path = f"{self.path}{shown_key(key)}."
        inner = Fields(value, notes=self.notes, path=self.path if self.path.endswith(f".{shown_key(key)}.") else path)
        self._inner.append(inner)
        return inner

    def named(self, key: str) -> str:
        return f'"{self.path}{key}"'

    def close(self) -> None:
        """Name every key that says something and wasn't read."""
        for key, value in self.values.items():
            if key not in self._read and value not in (None, "", [], {}):
                self.notes[self.path + shown_key(key), ""] += 1
        for inner in self._inner:
            inner.close()


class Parser(Protocol):
    """What a module of a format has, as far as a row is concerned."""

    def parse(self, row: Fields) -> "ImportedRow | Sequence[ImportedRow | LeftOut]": ...


def parsed(module: Any, values: dict[str, Any]) -> list["ImportedRow | LeftOut"]:
    """What a row of a format is: mostly one row; of several judgments one each. Raises BadRow, LeftOut.

    What the row said and nobody keeps is noted with its first one.
    """
    fields = Fields(values)
    found = module.parse(fields)
    rows = [found] if isinstance(found, ImportedRow) else list(found)
    fields.close()
    for place, row in enumerate(rows):
        if isinstance(row, ImportedRow):
            if fields.notes:
                rows[place] = replace(row, not_kept=tuple(fields.notes))
            break
    return rows


def shown_key(key: str) -> str:
    """A key of a file as it can be shown and stored, whatever is in it."""
    escaped = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in key[: LONGEST_KEY + 1])
    escaped = escaped.encode("utf-8", "backslashreplace").decode()
    return escaped if len(escaped) <= LONGEST_KEY else escaped[: LONGEST_KEY - 1] + "…"


def number_of(value: Any, name: str) -> float | None:
    """A number, also as the text of one; None for anything else. Raises BadRow for one that can't be kept as it is."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or (isinstance(value, int) and int(number) != value):
        raise BadRow(_("%(name)s is a number out of bounds") % {"name": name})
    return value


def text_of(value: Any, name: str, *, longest: int = LONGEST_TEXT) -> str:
    """The value, if it's text that can be stored."""
    if value is None:
        raise BadRow(_("%(name)s is missing") % {"name": name})
    if not isinstance(value, str):
        raise BadRow(_("%(name)s must be text") % {"name": name})
    if reason := text.flaw(value):
        raise BadRow(f"{name} {reason}")
    if len(value) > longest:
        raise BadRow(_("%(name)s is longer than %(longest)s characters") % {"name": name, "longest": f"{longest:,}"})
    return value


def check_ranked(count: int) -> None:
    """Raises BadRow for a number of responses that is no ranking's."""
    if not 1 < count <= MOST_RESPONSES:
        raise BadRow(_("a ranking needs 2 to %(most)d responses") % {"most": MOST_RESPONSES})


def user_turn(written: str) -> Messages:
    return [{"role": "user", "content": written}]


def checked_messages(turns: Sequence[dict[str, str]]) -> Messages:
    """The chat that awaits a response: perhaps a system turn, then user and assistant by turns, the user last.

    Two turns of one speaker in a row become one, with a blank line between: chat templates know no such thing.
    """
    if len(turns) > MOST_TURNS:
        raise BadRow(_("the prompt has more than %(most_turns)s turns") % {"most_turns": MOST_TURNS})
    joined: list[dict[str, str]] = []
    for turn in turns:
        if joined and joined[-1]["role"] == turn["role"]:
            joined[-1] = {"role": turn["role"], "content": f"{joined[-1]['content']}\n\n{turn['content']}"}
        else:
            joined.append({"role": turn["role"], "content": turn["content"]})
    for number, turn in enumerate(joined, start=1):
        if turn["role"] not in ("system", "user", "assistant"):
            raise BadRow(
                _("turn %(number)s of the prompt has the unknown role %(role)r")
                % {"number": number, "role": turn["role"][:40]}
            )
        if turn["role"] == "system" and number > 1:
            raise BadRow(_("turn %(number)s of the prompt is a system turn, which belongs first") % {"number": number})
    dialogue = joined[1:] if joined and joined[0]["role"] == "system" else joined
    if not dialogue or dialogue[-1]["role"] != "user":
        raise BadRow(_("the last turn of the prompt must be the user's"))
    if dialogue[0]["role"] != "user":
        raise BadRow(_("the first turn of the prompt must be the user's"))
    if not dialogue[-1]["content"].strip():
        raise BadRow(_("the last turn of the prompt is empty"))
    return joined


@cache
def _values(allowed: type[models.TextChoices]) -> frozenset[str]:
    return frozenset(allowed.values)


def _word(written: str) -> str:
    return re.sub(r"[\s_-]+", "_", written.strip().lower())
