"""A row of an imported file as Hone understands it, whatever format it came in, and the checks they share."""

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotate import text

LONGEST_TEXT = 1_000_000
MOST_TURNS = 500
MOST_RESPONSES = 64


class BadRow(Exception):
    """Why a row is broken, as the end of a sentence; the reader adds where. Nothing of the file is imported."""


class LeftOut(Exception):
    """Why a sound row has no place in Hone, as a phrase; the others are imported, and the report counts these."""


@dataclass(frozen=True, kw_only=True)
class ImportedResponse:
    """An answer that came with a row. rank: 1 is best, equal ranks are tied, None was not ranked; score: a judge's."""

    text: str
    model: str = ""
    rank: int | None = None
    score: float | None = None
    acceptable: bool = True
    ratings: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    finish_reason: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class ImportedRow:
    """A prompt, perhaps with an ideal answer or with responses, which perhaps somebody has ranked.

    Names who judged or wrote are as in the file; `task` groups the judgments of several labelers on the same responses.
    `weight` is what the judgment counts, None as much as any.
    """

    messages: list[dict[str, str]]
    id: str = ""
    language: str = ""
    source: str = ""
    kind: str = "plain"
    use_case: str = "other"
    sensitive: bool = False
    demonstration: str | None = None
    responses: tuple[ImportedResponse, ...] = ()
    ranked: bool = False
    labeler: str = ""
    author: str = ""
    judge: str = "human"
    task: str = ""
    margin: int | None = None
    weight: float | None = None
    seconds: float | None = None


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


def short_text(row: dict[str, Any], key: str, *, longest: int = 200) -> str:
    """A label such as an id or a source: numbers are taken as text, nothing as an empty one, long ones are cut."""
    value = row.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return "" if value is None else text_of(value, f'"{key}"')[:longest]


def checked_messages(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The chat to answer: perhaps a system turn, then user and assistant by turns, the user last.

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
