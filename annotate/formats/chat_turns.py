"""Chats as files write them: a text, turns of role and content, or of from and value, contents in parts or whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats.rows import BadRow, Fields, LeftOut, Messages, checked_messages, text_of, user_turn

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bing", "chatgpt", "bard", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
TOOLS = ("tool", "function", "function_call", "observation", "tool_call", "tool_response", "ipython")
CALLS = ("function_call", "tool_call")
"""Roles of turns in which the assistant calls a tool; the others hold what the tool returned."""
LANGUAGES = {
    "arabic": "ar",
    "chinese": "zh",
    "czech": "cs",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "vietnamese": "vi",
}
_keeps_tools: ContextVar[bool] = ContextVar("keeps_tools", default=False)


@contextmanager
def tool_turns(*, kept: bool) -> Iterator[None]:
    """Within this, turns of tools are kept as text, or rows that have some are left out."""
    token = _keeps_tools.set(kept)
    try:
        yield
    finally:
        _keeps_tools.reset(token)


def language_of(row: Fields, key: str) -> str:
    """A language by its tag or its English name; what is neither, such as a programming language, is named."""
    written = row.label(key)
    word = written.lower()
    if word in LANGUAGES:
        return LANGUAGES[word]
    if 2 <= len(word.partition("-")[0]) <= 3 and len(word) <= 10 and word.replace("-", "").isalnum():
        return written
    if written and word != "unknown":
        row.leave(key, _("not a language that Hone knows"))
    return ""


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
    return turn_of(row.within(key, item), f"turn {number}")


def turn_of(turn: Fields, named: str) -> dict[str, str]:
    """A turn of role and content, or of from and value. named: what it is called where it is broken.

    A turn of a tool becomes text where these are kept: a call in the assistant's turn, what came back in the user's.
    """
    names = ("from", "value") if "from" in turn.values and "role" not in turn.values else ("role", "content")
    role = turn.text(names[0], name=f"{names[0]} of {named}").lower()
    calls = turn.values.get("tool_calls") or turn.values.get("function_call")
    if not (role in TOOLS or calls):
        turn.ignore("tool_calls", "function_call")
        return {"role": ROLES.get(role, role), "content": _content(turn, names[1], f"{names[1]} of {named}")}
    if not _keeps_tools.get():
        raise LeftOut(_("it has turns of tools, which labelers aren't shown"))
    said = _content(turn, names[1], f"{names[1]} of {named}") if turn.values.get(names[1]) else ""
    turn.ignore("tool_calls", "function_call", "tool_call_id", "name")
    if role not in TOOLS:
        called = text_of(json.dumps(calls, ensure_ascii=False), f"tool_calls of {named}")
        return {"role": "assistant", "content": f"{said}\n\n{_fenced('tool_call', called)}".strip()}
    if role in CALLS:
        return {"role": "assistant", "content": _fenced("tool_call", said)}
    return {"role": "user", "content": _fenced("tool_result", said)}


def _fenced(kind: str, written: str) -> str:
    return f"```{kind}\n{written}\n```"


def _content(turn: Fields, key: str, name: str) -> str:
    """A turn's text. One in parts is the texts of them, one after the other."""
    parts = turn.values.get(key)
    if parts is None and "refusal" in turn:
        # OpenAI's models put what they say there when they decline.
        return turn.text("refusal", name=name)
    if not isinstance(parts, list):
        return turn.text(key, name=name)
    texts = []
    for part in turn.objects(key, name=name):
        kind = part.label("type")
        if kind not in ("", "text", "input_text", "output_text", "refusal"):
            raise LeftOut(_("it has turns that are more than text"))
        texts.append(part.text(next((key for key in ("text", "refusal") if key in part.values), "value"), name=name))
    return text_of("".join(texts), name)
