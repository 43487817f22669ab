"""Open-Assistant's message trees: wherever people ranked several replies of the assistant, a ranking.

A reply that is the only ranked one, or isn't ranked, is none; what a prompter says to it goes on as a longer chat. All
of a tree is one side of the split: its first message is the opening of every prompt in it.
"""

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    checked_messages,
)

NAME, LABEL = "oasst", gettext_noop("Open-Assistant trees")
ROLES = {"prompter": "user", "assistant": "assistant"}


def recognises(row: dict[str, Any]) -> bool:
    return "message_tree_id" in row and isinstance(row.get("prompt"), dict)


def parse(row: Fields) -> list[ImportedRow | LeftOut]:
    if not isinstance(row.values.get("prompt"), dict):
        raise BadRow(_("%(name)s must be an object") % {"name": row.named("prompt")})
    root = row.within("prompt", row.values["prompt"])
    found = list(_below(root, before=[], opening=None))
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
