"""NVIDIA's HelpSteer: rated responses (HelpSteer, HelpSteer2), preferences of -3 to 3 (HelpSteer2, HelpSteer3), and
feedback in words (HelpSteer3). A preference above 0 is for the second response; each annotator's is a judgment."""

import re
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import language_of, turns_of
from annotate.formats.importers.hone import author_of, judged_of, origin_of
from annotate.formats.rows import (
    LONGEST_LABEL,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    checked_messages,
    text_of,
    user_turn,
)

NAME, LABEL = "helpsteer", gettext_noop("HelpSteer ratings and preferences")
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
STRENGTHS = ("preference_strength", "overall_preference")
TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def recognises(row: dict[str, Any]) -> bool:
    asked = isinstance(row.get("prompt"), str) or isinstance(row.get("context"), list)
    rated = "response" in row and (
        "feedback" in row or isinstance(row.get("criteria"), list) or sum(name in row for name in ATTRIBUTES) >= 2
    )
    compared = "preference_strength" in row or {"context", "overall_preference"} <= set(row)
    return asked and (rated or compared)


def parse(row: Fields) -> ImportedRow | list[ImportedRow | LeftOut]:
    messages = _prompt(row)
    common: dict[str, Any] = {"messages": messages, "id": row.label("id"), "language": language_of(row, "language")}
    common["source"] = row.label("source") or " ".join(["HelpSteer", row.label("domain")]).strip()
    if "response" in row.values:
        return _rated(row, common)
    texts = [row.text("response1" if "response1" in row.values else "response_1")]
    texts.append(row.text("response2" if "response2" in row.values else "response_2"))
    given = row.values.get("individual_preference")
    if isinstance(given, list) and given:
        row.ignore("overall_preference")
        annotations = row.objects("individual_preference")
        return [
            _judged(common, texts, _strength(item, "score"), comment=_reasoning(item), number=number, item=item)
            for number, item in enumerate(annotations, start=1)
        ]
    key = next((name for name in STRENGTHS if name in row), STRENGTHS[0])
    parts = ("preference_statement", "preference_elaboration")
    comment = "\n\n".join(row.text(name, longest=10_000) for name in parts if name in row)
    return [_judged(common, texts, _strength(row, key), comment=comment, number=0, item=None)]


def _prompt(row: Fields) -> Messages:
    if isinstance(row.values.get("context"), list):
        return checked_messages(turns_of(row, "context"))
    first, *rest = TURN.split(row.text("prompt"))
    turns = user_turn(first)
    for speaker, text in zip(rest[::2], rest[1::2], strict=True):
        turns.append({"role": speaker.lower(), "content": text})
    return checked_messages(turns)


def _rated(row: Fields, common: dict[str, Any]) -> ImportedRow | list[ImportedRow | LeftOut]:
    text = row.text("response")
    own = row.values.get("criteria")
    if isinstance(own, list) and all(isinstance(name, str) for name in own):
        return _of_criteria(row, common, text)
    ratings = {name: value for name in ATTRIBUTES if (value := row.number(name)) is not None}
    given = row.values.get("feedback")
    if not isinstance(given, list):
        if not ratings:
            raise LeftOut(_("its rating is no number"))
        return ImportedRow(**common, rated=True, responses=(ImportedResponse(text=text, ratings=ratings),))
    row.ignore("feedback")
    notes = [note for note in given if isinstance(note, str) and note.strip()]
    if len(notes) < len(given):
        row.leave("feedback", _("not a text"))
    if not notes and not ratings:
        raise LeftOut(_("nothing was said of the response"))
    return [
        ImportedRow(
            **common,
            task=common["id"] or "helpsteer",
            labeler=f"annotator {number}",
            rated=True,
            responses=(ImportedResponse(text=text, ratings=ratings, note=_checked_note(note)),),
        )
        for number, note in enumerate(notes or [""], start=1)
    ]


def _of_criteria(row: Fields, common: dict[str, Any], text: str) -> ImportedRow:
    """A row of Hone's export of ratings, which names its columns of ratings."""
    row.ignore("criteria")
    ratings = {}
    for column in row.values["criteria"][:200]:
        name = text_of(column, _("a rating's name"), longest=LONGEST_LABEL)
        if (value := row.number(name)) is not None:
            ratings[name.removeprefix("rating ")] = value
    if not ratings:
        raise LeftOut(_("its rating is no number"))
    flags = row.values.get("flags")
    row.ignore("flags")
    response = ImportedResponse(
        text=text,
        ratings=ratings,
        flags=tuple(text_of(flag, '"flags"', longest=LONGEST_LABEL) for flag in flags)
        if isinstance(flags, list)
        else (),
        acceptable=row.flag("acceptable") is not False,
        **author_of(row),
    )
    own = {**origin_of(row), "messages": common["messages"]}
    return ImportedRow(**own, **judged_of(row), rated=True, responses=(response,))


def _checked_note(note: str) -> str:
    return Fields({"feedback": note}).text("feedback", longest=20_000)


def _reasoning(item: Fields) -> str:
    parts = ("reasoning", "feedback1", "feedback2")
    return "\n\n".join(item.text(name, longest=6_000) for name in parts if name in item)


def _strength(row: Fields, key: str) -> int | None:
    strength = row.number(key, low=-3, high=3, strict=True)
    if strength is None:
        return None
    if strength != int(strength):
        raise BadRow(_("%(name)s must be a whole number from -3 to 3") % {"name": row.named(key)})
    return int(strength)


def _judged(
    common: dict[str, Any], texts: list[str], strength: int | None, *, comment: str, number: int, item: Fields | None
) -> ImportedRow | LeftOut:
    if strength is None:
        return LeftOut(_("nothing was preferred"))
    ranks = (1, 1) if strength == 0 else (1, 2) if strength < 0 else (2, 1)
    labeler = item.label("annotator") if item is not None else ""
    return ImportedRow(
        **common,
        task=(common["id"] or "helpsteer") if number else "",
        labeler=labeler or (f"annotator {number}" if number else ""),
        margin=abs(strength),
        comment=comment,
        ranked=True,
        responses=tuple(ImportedResponse(text=text, rank=rank) for text, rank in zip(texts, ranks, strict=True)),
    )
