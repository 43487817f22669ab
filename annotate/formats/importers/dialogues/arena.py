"""Pairwise judgments of MT-Bench and the Chatbot Arena: two conversations, or prompt and responses, and the winner.

From the second turn on the two conversations hold different responses, so only what was asked first can be compared.
"""

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import language_of, turns_of
from annotate.formats.rows import (
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    by_model,
    checked_messages,
)

NAME, LABEL = "arena", gettext_noop("MT-Bench judgments, Chatbot Arena")
BOTH_BAD = ("tie (bothbad)", "both_bad")
RANKS = {"model_a": (1, 2), "model_b": (2, 1), **dict.fromkeys(("tie", *BOTH_BAD), (1, 1))}
OF_THE_ARENA = ("winner_tie", "anony", "evaluation_session_id")
OUTCOMES = ("winner_model_a", "winner_model_b", "winner_tie")


def recognises(row: dict[str, Any]) -> bool:
    pair = {"model_a", "model_b"} <= set(row)
    return pair and ({"winner", "conversation_a"} <= set(row) or {"prompt", "response_a", *OUTCOMES} <= set(row))


def parse(row: Fields) -> ImportedRow:
    winner = _winner(row)
    if "conversation_a" in row.values:
        (prompt, first), (other, second) = (_exchange(row, key) for key in ("conversation_a", "conversation_b"))
        if prompt != other:
            raise LeftOut(_("the two dialogues part before their last responses"))
    else:
        prompt, first, second = _columns(row)
    judge, name = _judge(row)
    number = row.label("question_id") or row.label("id")
    timestamp = row.label("tstamp") or row.label("timestamp")
    responses = []
    for letter, text, rank in zip("ab", (first, second), RANKS[winner], strict=True):
        responses.append(
            ImportedResponse(
                text=text,
                rank=rank,
                acceptable=winner not in BOTH_BAD,
                **by_model(row.label(f"model_{letter}")),
            )
        )
    return ImportedRow(
        messages=prompt,
        id=number,
        task=number,
        source="Chatbot Arena" if any(key in row.values for key in OF_THE_ARENA) else "MT-Bench",
        language=language_of(row, "language"),
        judge=judge,
        judge_name=name if judge == "ai" else "",
        labeler=name if judge == "human" else "",
        timestamp=timestamp,
        ranked=True,
        responses=tuple(responses),
    )


def _winner(row: Fields) -> str:
    if "winner" in row.values:
        winner = row.label("winner").lower()
        if winner not in RANKS:
            raise LeftOut(_("it says of no pair which is better"))
        return winner
    won = [bool(row.number(key)) for key in OUTCOMES]
    if sum(won) != 1:
        raise LeftOut(_("it says of no pair which is better"))
    return ("model_a", "model_b", "tie")[won.index(True)]


def _exchange(row: Fields, key: str) -> tuple[Messages, str]:
    """(prompt, response) of the turn that was judged: the first, if nothing else is said."""
    turns = turns_of(row, key)
    row.ignore("turn")
    turn = row.values.get("turn")
    judged = turn if isinstance(turn, int) and not isinstance(turn, bool) and turn > 0 else 1
    ends = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    if judged > len(ends):
        raise BadRow(_("%(name)s has no response in turn %(turn)d") % {"name": row.named(key), "turn": judged})
    if ends[judged - 1] + 1 < len(turns):
        row.leave(key, _("a later turn, which was judged elsewhere"))
    return checked_messages(turns[: ends[judged - 1]]), turns[ends[judged - 1]]["content"]


def _columns(row: Fields) -> tuple[Messages, str, str]:
    """Of the tables, whose cells are lists of texts as JSON, one for each turn."""
    prompts, *responses = (_texts(row, key) for key in ("prompt", "response_a", "response_b"))
    if len(prompts) != 1 or any(len(texts) != 1 for texts in responses):
        raise LeftOut(_("the two dialogues part before their last responses"))
    return checked_messages([{"role": "user", "content": prompts[0]}]), responses[0][0], responses[1][0]


def _texts(row: Fields, key: str) -> list[str]:
    written = row.text(key)
    if not written.startswith("["):
        return [written]
    try:
        texts = json.loads(written)
    except (ValueError, RecursionError):
        return [written]
    if not isinstance(texts, list) or not texts:
        raise LeftOut(_("a response is empty"))
    return [Fields({key: "" if text is None else text}).text(key) for text in texts]


def _judge(row: Fields) -> tuple[str, str]:
    """(human or ai, name): models judge under their own names, people as "expert_1" or by a number."""
    given = row.values.get("judge")
    if isinstance(given, list) and given and all(isinstance(part, str) for part in given):
        row.ignore("judge")
        name = Fields({"judge": " ".join(given)}).label("judge")
    else:
        name = row.label("judge")
    people = ("arena_user", "author", "expert", "human")
    return ("human" if not name or name.startswith(people) else "ai"), name
