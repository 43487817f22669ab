"""Open-Assistant's message trees: wherever people ranked several replies of the assistant, a ranking.

A reply that is the only ranked one, or isn't ranked, is none; what a prompter says to it goes on as a longer chat. All
of a tree is one side of the split: its first message is the opening of every prompt in it.

The data set of the Hub has a row for each message instead, those of a tree one after the other: they are joined again.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats import files
from annotate.formats.files import byte_streams
from annotate.formats.rows import (
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    Row,
    checked_messages,
)

NAME, LABEL = "oasst", gettext_noop("Open-Assistant trees")
ROLES = {"prompter": "user", "assistant": "assistant"}
MESSAGE = {"message_id", "message_tree_id", "text", "role"}
MOST_MESSAGES, MOST_DEPTH = 10_000, 100
"""Of a tree that is joined."""


def recognises(row: dict[str, Any]) -> bool:
    return set(row) >= MESSAGE or ("message_tree_id" in row and isinstance(row.get("prompt"), dict))


def read(path: Path, *, name: str = "") -> Iterator[tuple[str, Row]]:
    """The trees of a file; a message that belongs to none is a row of its own."""

    def tree_of(found: tuple[str, Row]) -> tuple[str, Any]:
        place, row = found
        # By its place, whatever is no message stands alone.
        return ("", row["message_tree_id"]) if isinstance(row, dict) and _is_message(row) else (place, None)

    for (alone, _tree), rows in groupby(files.objects(path, name=name), tree_of):
        if alone:
            yield from rows
        else:
            yield from _joined(rows)


def _is_message(row: dict[str, Any]) -> bool:
    return set(row) >= MESSAGE and all(isinstance(row[key], str) for key in ("message_id", "message_tree_id"))


def _joined(rows: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Row]]:
    """The tree of messages that follow each other, and those that are below none of its roots."""
    places: dict[str, str] = {}
    messages: dict[str, dict[str, Any]] = {}
    size = 0
    for place, row in rows:
        number = row["message_id"]
        size += len(str(row["text"]))
        if number in messages or len(messages) == MOST_MESSAGES or size > byte_streams.LONGEST_LINE:
            yield place, BadRow(_("its message_id is there twice, or its tree is too large to be joined"))
            continue
        places[number], messages[number] = place, row
    replies = defaultdict(list)
    for row in messages.values():
        replies[row.get("parent_id") or ""].append(row)
    for root in replies[""]:
        yield (
            places[root["message_id"]],
            {"message_tree_id": root["message_tree_id"], "prompt": _below_root(root, replies, messages)},
        )
    yield from ((places[number], row) for number, row in messages.items())


def _below_root(
    root: dict[str, Any], replies: dict[Any, list[dict[str, Any]]], messages: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The root with its replies in it, which are taken out of the messages."""
    nested = messages.pop(root["message_id"])
    level = [nested]
    for _depth in range(MOST_DEPTH):
        for row in level:
            row.pop("message_tree_id", None)
            row["replies"] = [messages.pop(reply["message_id"]) for reply in replies.get(row["message_id"], [])]
        level = [reply for row in level for reply in row["replies"]]
    return nested


def parse(row: Fields) -> list[ImportedRow | LeftOut]:
    if "prompt" not in row.values and "parent_id" in row.values:
        raise LeftOut(_("the message that it replies to isn't in the file, or it is too deep in its tree"))
    found = list(_below(row.object("prompt"), before=[], opening=None))
    return found or [LeftOut(_("no replies to it were ranked"))]


def _below(message: Fields, *, before: Messages, opening: Messages | None) -> Iterator[ImportedRow | LeftOut]:
    """The rankings of a message's replies and of all that follows them."""
    text = message.text("text")
    role = message.label("role")
    if role not in ROLES:
        raise BadRow(_("%(name)s must be prompter or assistant") % {"name": message.named("role")})
    message.ignore("parent_id", "lang", "deleted")
    if role == "prompter" and "rank" in message:
        message.leave("rank", _("prompters' messages aren't compared"))
    turns = [*before, {"role": ROLES[role], "content": text}]
    replies = message.objects("replies") if message.values.get("replies") else []
    if role == "prompter":
        prompt = checked_messages(turns)
        opening = opening or prompt
        yield from _ranking(message, prompt, opening, replies)
    for reply in replies:
        yield from _below(reply, before=turns, opening=opening)


def _ranking(
    message: Fields, prompt: Messages, opening: Messages, replies: list[Fields]
) -> Iterator[ImportedRow | LeftOut]:
    kept = [reply for reply in replies if not reply.values.get("deleted")]
    ranked = [reply for reply in kept if isinstance(reply.values.get("rank"), int)]
    for reply in replies:
        if reply not in kept:
            reply.leave("text", _("deleted there"))
    if not kept:
        message.leave("text", _("nobody replied to it"))
        return
    if len(ranked) < 2 or len(kept) > MOST_RESPONSES:
        yield LeftOut(_("its replies weren't ranked"))
        return
    yield ImportedRow(
        messages=prompt,
        id=message.label("message_id"),
        language=message.label("lang", longest=10),
        source="Open-Assistant",
        opening=opening if opening != prompt else None,
        ranked=True,
        labeler="Open-Assistant reviewers",
        responses=tuple(_response(reply) for reply in kept),
    )


def _response(reply: Fields) -> ImportedResponse:
    """A reply; ranks count from 0 there. One that a model wrote is marked as synthetic and may name it."""
    rank = reply.number("rank", low=0)
    model = reply.label("model_name")
    kind = "model" if reply.values.get("synthetic") else "person"
    return ImportedResponse(
        text=reply.text("text"),
        rank=None if rank is None else int(rank) + 1,
        model=model or ("Open-Assistant" if kind == "person" else ""),
        author_kind=kind if model or kind == "person" else "unknown",
    )
