"""Open WebUI's export of feedback: thumbs, scores and choices between models, with the chat as it was.

A choice between models (an arena) is a comparison with the responses beside it; another one is a rating.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import turn_of
from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, LeftOut, by_model, checked_messages

NAME, LABEL = "open_webui", gettext_noop("Open WebUI feedback")
MOST_STEPS = 1_000


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("data"), dict) and "rating" in row["data"] and isinstance(row.get("meta"), dict)


def parse(row: Fields) -> ImportedRow:
    data, meta = (_within(row, key) for key in ("data", "meta"))
    messages = _chat(row)
    row.ignore("version", "updated_at", "type", "user")
    meta.ignore("message_index", "model_id", "chat_id", "base_models")
    message_id = meta.label("message_id")
    rating = data.number("rating", low=-1, high=1, strict=True)
    if not rating:
        raise LeftOut(_("nothing was preferred"))
    if message_id not in messages:
        raise LeftOut(_("the chat that was rated isn't in the file"))
    message = messages[message_id]
    path = list(_upwards(messages, message))[::-1]
    prompt = checked_messages([turn_of(each, "content") for each in path[:-1]])
    common: dict[str, Any] = {
        "messages": prompt,
        "id": row.label("id"),
        "source": "Open WebUI",
        "labeler": row.label("user_id"),
        "timestamp": _moment(row.number("created_at", low=0)),
    }
    said = [data.text(key, longest=10_000) for key in ("reason", "comment") if key in data]
    others = _others(messages, message) if meta.flag("arena") else []
    model = data.label("model_id")
    data.ignore("sibling_model_ids")
    if others:
        ranks = (1, 2) if rating > 0 else (2, 1)
        responses = [_response(message, model, rank=ranks[0])]
        responses += [_response(other, "", rank=ranks[1]) for other in others]
        return ImportedRow(**common, comment="\n\n".join(said), ranked=True, responses=tuple(responses))
    ratings = {"label": 1.0 if rating > 0 else 0.0}
    if isinstance(data.values.get("details"), dict):
        score = _within(data, "details").number("rating")
        ratings |= {} if score is None else {"rating": score}
    response = _response(message, model, ratings=ratings, note="\n\n".join(said)[:4_000])
    return ImportedRow(**common, rated=True, responses=(response,))


def _within(row: Fields, key: str) -> Fields:
    value = row.values.get(key)
    return row.within(key, value) if isinstance(value, dict) else Fields({})


def _chat(row: Fields) -> dict[str, Fields]:
    """The messages of the chat by their ids. What else it says of itself is settings of the interface."""
    inner = _within(row, "snapshot")
    for key in ("chat", "chat", "history"):
        inner.ignore(*inner.values)
        inner = _within(inner, key)
    inner.ignore("currentId")
    found = inner.values.get("messages")
    if not isinstance(found, dict):
        raise LeftOut(_("the chat that was rated isn't in the file"))
    messages = inner.within("messages", found)
    messages.ignore(*found)
    inside = {key: messages.within("*", value) for key, value in found.items() if isinstance(value, dict)}
    for message in inside.values():
        # Of what nobody rated the text alone is named.
        message.ignore(*(key for key in message.values if key != "content"))
    return inside


def _upwards(messages: dict[str, Fields], message: Fields) -> Iterator[Fields]:
    """A message and those before it, the newest first."""
    seen = 0
    at: Fields | None = message
    while at is not None and seen < MOST_STEPS:
        at.ignore(*at.values)
        yield at
        seen += 1
        parent = at.values.get("parentId")
        at = messages.get(parent) if isinstance(parent, str) else None


def _others(messages: dict[str, Fields], message: Fields) -> list[Fields]:
    """The other responses to the same turn."""
    parent = message.values.get("parentId")
    return [
        other
        for other in messages.values()
        if other is not message
        and isinstance(parent, str)
        and other.values.get("parentId") == parent
        and other.values.get("role") == "assistant"
    ]


def _response(message: Fields, model: str, **said: Any) -> ImportedResponse:
    name = message.label("model") or model
    message.ignore(*message.values)
    return ImportedResponse(text=turn_of(message, "content")["content"], **by_model(name), **said)


def _moment(seconds: float | None) -> str:
    if seconds is None or seconds > 4_000_000_000:
        return ""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
