"""Chats whole, as ShareGPT and LLaMA-Factory write them: "conversations" or "messages", with what follows.

- with "chosen" and "rejected", or OpenAI's "preferred_output" and "non_preferred_output": a pair of
  responses to the chat;
- with a "label": a rating of the last response;
- otherwise a demonstration for every turn of the assistant, all on one side of the split, since they share an opening,
  and a prompt where the user has the last turn. ShareGPT's assistants are models, mostly unnamed: nobody is claimed to
  have written them.
"""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import language_of, response_of, turns_of
from annotate.formats.rows import (
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    WrittenBy,
    by_model,
    checked_messages,
)

NAME, LABEL = "conversations", gettext_noop("Chats (ShareGPT, LLaMA-Factory)")
KEYS = ("conversations", "messages", "conversation")
PREFERRED = ("preferred_output", "non_preferred_output")


def recognises(row: dict[str, Any]) -> bool:
    inner = row.get("input")
    is_openai = isinstance(inner, dict) and "messages" in inner and set(PREFERRED) <= set(row)
    return is_openai or any(isinstance(row.get(key), list) for key in KEYS)


def parse(row: Fields) -> ImportedRow | Sequence[ImportedRow | LeftOut]:
    if isinstance(row.values.get("input"), dict) and PREFERRED[0] in row:
        return _openai_pair(row)
    key = next((key for key in KEYS if isinstance(row.values.get(key), list)), KEYS[0])
    turns = turns_of(row, key)
    if "system" in row and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": row.text("system")})
    if row.values.get("prompt") in [turn["content"] for turn in turns if turn["role"] == "user"]:
        row.ignore("prompt")
    common: dict[str, Any] = {
        "id": row.label("id") or row.label("prompt_id"),
        "language": language_of(row, "lang" if "lang" in row else "language"),
        "source": row.label("source") or None,
    }
    if "chosen" in row or "rejected" in row:
        prompt = checked_messages(turns)
        (_same, chosen), (_same, rejected) = (response_of(row, name, prompt) for name in ("chosen", "rejected"))
        responses = tuple(ImportedResponse(text=text, rank=rank) for rank, text in ((1, chosen), (2, rejected)))
        # Nobody says who judged; these data sets are judged by models as often as by people.
        return ImportedRow(**common, **_judge(row), messages=prompt, responses=responses, ranked=True)
    author = by_model(row.label("model") or row.label("generator"))
    if "label" in row:
        label = row.flag("label")
        response = ImportedResponse(text=turns[-1]["content"], ratings={"label": 1.0 if label else 0.0}, **author)
        if turns[-1]["role"] != "assistant":
            raise LeftOut(_("its last turn isn't a response"))
        return ImportedRow(
            **common, **_judge(row), messages=checked_messages(turns[:-1]), responses=(response,), rated=True
        )
    if demonstrations := _demonstrations(turns, common, author):
        return demonstrations
    if author["model"]:
        row.leave("model" if "model" in row else "generator", _("the chat has no response of it"))
    return [ImportedRow(**common, messages=checked_messages(turns))]


def _openai_pair(row: Fields) -> ImportedRow:
    """A row of OpenAI's preference fine-tuning."""
    given = row.within("input", row.values["input"])
    given.ignore("parallel_tool_calls")
    prompt = checked_messages(turns_of(given, "messages"))
    texts = [response_of(row, name, prompt)[1] for name in PREFERRED]
    return ImportedRow(
        messages=prompt,
        id=row.label("id"),
        ranked=True,
        responses=tuple(ImportedResponse(text=text, rank=rank) for rank, text in enumerate(texts, start=1)),
    )


def _judge(row: Fields) -> dict[str, Any]:
    """Who judged: two judges of the same responses are two judgments."""
    judge = row.label("judge") or "human"
    return {
        "labeler": row.label("labeler"),
        "judge": "human" if judge == "human" else "ai",
        "judge_name": "" if judge in ("human", "ai") else judge,
    }


def _demonstrations(turns: Messages, common: dict[str, Any], author: WrittenBy) -> list[ImportedRow | LeftOut]:
    """Of every response in the chat one, with the chat up to it as its prompt."""
    rows: list[ImportedRow | LeftOut] = []
    opening = None
    for at, turn in enumerate(turns):
        if turn["role"] != "assistant" or not at:
            continue
        if not turn["content"].strip():
            rows.append(LeftOut(_("a response is empty")))
            continue
        prompt = checked_messages(turns[:at])
        opening = opening or prompt
        rows.append(
            ImportedRow(
                **common,
                messages=prompt,
                opening=opening if opening != prompt else None,
                demonstration=turn["content"],
                author=author["model"],
                author_kind=author["author_kind"],
            )
        )
    if opening is not None and turns[-1]["role"] == "user":
        # What was asked last and nobody responded to is a prompt, as a chat without any response is.
        rows.append(ImportedRow(**common, messages=checked_messages(turns), opening=opening))
    return rows
