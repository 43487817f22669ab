"""Chats as files write them: a text, turns of role and content, or of from and value, contents in parts or whole."""

from typing import Any

from django.utils.translation import gettext as _

from annotate.formats.rows import BadRow, Fields, LeftOut, Messages, checked_messages, text_of, user_turn

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bing", "chatgpt", "bard", "model"), "assistant"),
    "system": "system",
}
TOOLS = ("tool", "function", "function_call", "observation", "tool_call", "ipython")


def prompt_of(row: Fields, key: str = "prompt") -> Messages:
    """The prompt under a key, checked: a list of turns, or a text with perhaps a system text beside it."""
    value = row.values.get(key)
    if isinstance(value, str):
        return prompt_of_text(row, row.text(key))
    return checked_messages(turns_of(row, key))


def prompt_of_text(row: Fields, written: str) -> Messages:
    """What a user asks as a prompt; a system text of the row stands before it."""
    turns = [{"role": "system", "content": row.text("system")}] if "system" in row else []
    return checked_messages([*turns, *user_turn(written)])


def turns_of(row: Fields, key: str) -> Messages:
    """The turns under a key, one after the other as they stand there, not checked for their order."""
    items = row.raw(key)
    if not isinstance(items, list) or not items:
        missing = items is None or items == "" or items == []
        raise BadRow(
            (_("%(name)s is missing") if missing else _("%(name)s must be a list of turns")) % {"name": row.named(key)}
        )
    return [_turn(row, key, item, number) for number, item in enumerate(items, start=1)]


def response_of(row: Fields, key: str, prompt: Messages | None) -> tuple[Messages, str]:
    """(the prompt, the response) under a key such as "chosen".

    It is a text, a turn of the assistant, or turns whose last is the assistant's; those before are the prompt, or where
    the row has one already, go on from it or say it again. Raises BadRow where they say another.
    """
    value = row.values.get(key)
    if not isinstance(value, list | dict):
        response = row.text(key)
        if prompt is None:
            raise BadRow(_('"prompt" is missing'))
        return prompt, response
    turns = [_turn(row, key, row.raw(key), 1)] if isinstance(value, dict) else turns_of(row, key)
    if turns[-1]["role"] != "assistant":
        raise BadRow(_('"%(key)s" must end with a response of the assistant') % {"key": key})
    before = turns[:-1]
    if not before:
        if prompt is None:
            raise BadRow(_('"prompt" is missing'))
        return prompt, turns[-1]["content"]
    if prompt is not None and before[: len(prompt)] != prompt:
        before = [*prompt, *before]
    return checked_messages(before), turns[-1]["content"]


def _turn(row: Fields, key: str, item: Any, number: int) -> dict[str, str]:
    if not isinstance(item, dict):
        raise BadRow(_("turn %(number)s of the prompt must be an object with role and content") % {"number": number})
    turn = row.within(key, item)
    names = ("from", "value") if "from" in item and "role" not in item else ("role", "content")
    role = turn.text(names[0], name=f"{names[0]} of turn {number}")
    if role.lower() in TOOLS:
        raise LeftOut(_("it has turns of tools, which labelers aren't shown"))
    return {"role": ROLES.get(role.lower(), role), "content": _content(turn, names[1], f"{names[1]} of turn {number}")}


def _content(turn: Fields, key: str, name: str) -> str:
    """A turn's text. One in parts is the texts of them, one after the other."""
    parts = turn.values.get(key)
    if not isinstance(parts, list):
        return turn.text(key, name=name)
    texts = []
    for part in turn.objects(key, name=name):
        if part.label("type") not in ("", "text"):
            raise LeftOut(_("it has turns that are more than text"))
        texts.append(part.text("text" if "text" in part.values else "value", name=name))
    return text_of("".join(texts), name)
