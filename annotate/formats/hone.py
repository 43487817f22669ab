"""Hone's own JSON lines, read: prompts, demonstrations, rankings, pairs and sampled responses, told apart row by row.

Unknown keys aren't kept.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats import files
from annotate.formats.rows import (
    MOST_RESPONSES,
    BadRow,
    ImportedResponse,
    ImportedRow,
    checked_messages,
    short_text,
    text_of,
)
from annotate.models import Prompt, Response

NAME, LABEL = "hone", gettext_noop("Hone JSON lines")
# Of a row; what else it holds is named in the report.
KEYS = frozenset({"id", "prompt", "lang", "source", "kind", "use_case", "sensitive", "split", "prompt_id"})
KEYS |= {"response", "origin", "author", "responses", "chosen", "rejected", "models"}
KEYS |= {"labeler", "judge", "task", "margin", "weight", "seconds", "revision"}


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("prompt"), list)


def read(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    return files.objects(path)


def parse(row: dict[str, Any]) -> ImportedRow:
    common: dict[str, Any] = {
        "messages": _messages(row.get("prompt")),
        "id": short_text(row, "id"),
        "language": short_text(row, "lang", longest=10),
        "source": short_text(row, "source"),
        "kind": _choice(row, "kind", Prompt.Kind.values, "plain"),
        "use_case": _choice(row, "use_case", Prompt.UseCase.values, "other"),
        "sensitive": _is_sensitive(row),
    }
    if "chosen" in row or "rejected" in row:
        models = row["models"] if isinstance(row.get("models"), list) else []
        responses = tuple(
            ImportedResponse(text=text_of(row.get(key), f'"{key}"'), model=_model(model), rank=rank)
            for rank, key, model in zip((1, 2), ("chosen", "rejected"), (*models, "", "")[:2], strict=True)
        )
        return ImportedRow(**common, **_judged(row), responses=responses, ranked=True)
    if "responses" in row:
        responses = _responses(row["responses"])
        ranked = any("rank" in item for item in row["responses"])
        return ImportedRow(**common, **(_judged(row) if ranked else {}), responses=responses, ranked=ranked)
    if "response" in row:
        written = text_of(row["response"], '"response"')
        if not written.strip():
            raise BadRow(_('"response" is empty'))
        author = short_text(row, "origin") or short_text(row, "author") or short_text(row, "labeler")
        return ImportedRow(**common, demonstration=written, author=author)
    return ImportedRow(**common)


def _messages(turns: Any) -> list[dict[str, str]]:
    if not isinstance(turns, list) or not turns:
        raise BadRow(_('"prompt" is missing') if turns is None else _('"prompt" must be a list of turns'))
    checked = []
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict):
            raise BadRow(
                _("turn %(number)s of the prompt must be an object with role and content") % {"number": number}
            )
        checked.append({key: text_of(turn.get(key), f"{key} of turn {number}") for key in ("role", "content")})
    return checked_messages(checked)


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    judge = short_text(row, "judge") or "human"
    margin, seconds, weight = row.get("margin"), row.get("seconds"), row.get("weight")
    if weight is not None and not (_is_number(weight) and weight >= 0):
        raise BadRow(_('"weight" must be a number from 0 on'))
    return {
        "labeler": short_text(row, "labeler"),
        # The contract knows human and ai; a judge of any other name is a machine's.
        "judge": "human" if judge == "human" else "ai",
        "author": "" if judge in ("human", "ai") else judge,
        "task": short_text(row, "task"),
        # Other people's margins are on other scales: only Hone's four levels can be kept.
        "margin": int(margin) if margin in (0, 1, 2, 3) and not isinstance(margin, bool) else None,
        "weight": None if weight is None else float(weight),
        "seconds": float(seconds) if _is_number(seconds) and seconds >= 0 else None,
    }


def _responses(items: Any) -> tuple[ImportedResponse, ...]:
    if not isinstance(items, list) or not items:
        raise BadRow(_('"responses" must be a list of answers'))
    if len(items) > MOST_RESPONSES:
        raise BadRow(_("more than %(most_responses)s responses") % {"most_responses": MOST_RESPONSES})
    if not all(isinstance(item, dict) for item in items):
        raise BadRow(_("each response must be an object with a text"))
    ranked = any("rank" in item for item in items)
    if ranked and len(items) < 2:
        raise BadRow(_("a ranking needs at least two responses"))
    return tuple(_response(item, number, ranked=ranked) for number, item in enumerate(items, start=1))


def _response(item: dict[str, Any], number: int, *, ranked: bool) -> ImportedResponse:
    rank, acceptable = item.get("rank"), item.get("acceptable")
    if ranked and "rank" not in item:
        raise BadRow(
            _("response %(number)s has no rank where others have one (null means not ranked)") % {"number": number}
        )
    if rank is not None and (not _is_number(rank) or rank != int(rank) or rank < 1):
        raise BadRow(
            _("the rank of response %(number)s must be a whole number from 1 on, or null") % {"number": number}
        )
    if acceptable is not None and not isinstance(acceptable, bool):
        raise BadRow(_('"acceptable" of response %(number)s must be true, false or null') % {"number": number})
    score = item.get("score")
    ratings = item.get("ratings") or {}
    if not isinstance(ratings, dict) or not all(_is_number(value) for value in ratings.values()):
        raise BadRow(_('"ratings" of response %(number)s must be numbers by name') % {"number": number})
    flags = item.get("flags") or []
    if not isinstance(flags, list):
        raise BadRow(_('"flags" of response %(number)s must be a list') % {"number": number})
    return ImportedResponse(
        text=text_of(item.get("text"), f"text of response {number}"),
        model=_model(item.get("model")),
        rank=None if rank is None else int(rank),
        score=float(score) if _is_number(score) else None,
        acceptable=acceptable is not False,
        ratings={text_of(name, "a rating's name", longest=200): value for name, value in ratings.items()},
        flags=tuple(text_of(flag, f"a flag of response {number}", longest=200) for flag in flags),
        # "stop" is what samplers call an answer that ended by itself.
        finish_reason="eos"
        if item.get("finish_reason") == "stop"
        else _choice(item, "finish_reason", Response.FinishReason.values, "unknown"),
    )


def _is_sensitive(row: dict[str, Any]) -> bool:
    """Whether the prompt, or an answer to it, may upset: labelers are warned. Taken as said, never guessed."""
    value = row.get("sensitive")
    if value is not None and not isinstance(value, bool):
        raise BadRow(_('"sensitive" must be true, false or null'))
    return bool(value)


def _model(value: Any) -> str:
    return text_of(value, "the name of a model")[:200] if value else ""


def _choice(row: dict[str, Any], key: str, allowed: list[str], default: str) -> str:
    """A word of Hone's; others' words under the same key mean something else and aren't an error."""
    value = row.get(key)
    return value if isinstance(value, str) and value in allowed else default


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
