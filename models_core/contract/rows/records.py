"""Records of the JSON-lines files that people, exports and run folders share, and how a row becomes one.

A row that is wrong raises RowError with the reason; `row_parser` reads files and names file and line. Standard library
only.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

from models_core.contract.errors import RowError
from models_core.contract.rows import json_lines

LARGEST_NUMBER = 1e15
"""Size of a score or a rating beyond which sums of it mean nothing."""
LARGEST_WEIGHT = 1e6
"""Of a row's weight and margin: what is computed of them is fp32."""


class Message(TypedDict):
    """One turn of a chat, in the shape that chat templates take."""

    role: str
    content: str


Messages = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A chat whose last turn is the user's; `extra` holds the row's other keys."""

    id: str
    messages: Messages
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A prompt and an ideal response to it.

    `fields` are the row's other keys as texts, for templates. A row of kind "tasks" may lack prompt or response (both
    then empty): a template makes them out of its fields.
    """

    id: str
    messages: Messages
    response: str
    fields: dict[str, str] = field(default_factory=dict)
    merged_turns: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """As those of `PromptResponses`, of which it is the only one."""
        return (self.response,)


@dataclass(frozen=True, kw_only=True)
class RankedResponse:
    """One response of a ranking: rank 1 is best, equal ranks are tied, None was not ranked.

    `ratings` are those that are numbers, by criterion.
    """

    text: str
    rank: int | None
    model: str | None = None
    score: float | None = None
    acceptable: bool | None = None
    ratings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """One judgment over K responses to a prompt; a preference pair is a ranking of K = 2.

    `subset`: the part of a benchmark that the row is of.
    """

    id: str
    messages: Messages
    responses: tuple[RankedResponse, ...]
    task: str | None = None
    labeler: str | None = None
    judge: str | None = None
    weight: float = 1.0
    margin: float | None = None
    lang: str | None = None
    source: str | None = None
    subset: str | None = None
    merged_turns: int = 0

    @property
    def is_by_machine(self) -> bool:
        """Whether its judge is known, and no human: "ai", or the name of a model or a classifier."""
        return self.judge not in (None, "human")


@dataclass(frozen=True, kw_only=True)
class PromptResponses:
    """A prompt with the texts of its responses, whatever kind of row they came from."""

    id: str
    messages: Messages
    texts: tuple[str, ...]


def prompt(row: dict[str, Any]) -> Prompt:
    extra = {key: value for key, value in row.items() if key not in ("id", "prompt")}
    messages, _ = chat_of(row)
    return Prompt(id=id_of(row), messages=messages, extra=extra)


def demonstration(row: dict[str, Any]) -> Demonstration:
    response = _text(row, "response")
    if not response.strip():
        raise RowError('"response" is empty')
    messages, merged = chat_of(row)
    return Demonstration(id=id_of(row), messages=messages, response=response, fields=_fields(row), merged_turns=merged)


def task(row: dict[str, Any]) -> Demonstration:
    """A row for templates: a demonstration, or anything else with an id."""
    messages, merged = chat_of(row) if row.get("prompt") is not None else ((), 0)
    response = _optional_text(row, "response") or ""
    if row.get("response") is not None and not response.strip():
        raise RowError('"response" is empty')
    return Demonstration(id=id_of(row), messages=messages, response=response, fields=_fields(row), merged_turns=merged)


def _fields(row: dict[str, Any]) -> dict[str, str]:
    """What a template may name besides the prompt and the response: texts, numbers, truths, and lists of these."""
    values = {key: _as_text(value, key) for key, value in row.items() if key not in ("id", "prompt", "response")}
    return {key: text for key, text in values.items() if text is not None}


def _as_text(value: Any, key: str) -> str | None:
    if isinstance(value, str):
        return clean(value, f'"{key}"')
    if isinstance(value, list) and value:
        parts = [_as_text(item, key) for item in value if not isinstance(item, list)]
        texts = [part for part in parts if part is not None]
        return ", ".join(texts) if len(texts) == len(value) else None
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def ranking(row: dict[str, Any]) -> Ranking:
    if "subset" in row:
        row = _of_benchmark(row)
    responses: tuple[RankedResponse, ...]
    if "chosen" in row or "rejected" in row:
        responses = tuple(
            RankedResponse(text=_text(row, key), rank=rank, model=model)
            for rank, (key, model) in enumerate(zip(("chosen", "rejected"), _pair_models(row), strict=True), start=1)
        )
    else:
        responses = tuple(_ranked(item, where) for item, where in _response_rows(row))
        if len(responses) < 2:
            raise RowError('"responses" must hold at least two responses')
    _check_known(row)
    messages, merged = chat_of(row)
    return Ranking(
        id=id_of(row),
        messages=messages,
        responses=responses,
        task=_optional_text(row, "task"),
        labeler=_optional_text(row, "labeler"),
        judge=_optional_text(row, "judge"),
        weight=1.0 if (weight := _number(row, "weight", minimum=0.0, maximum=LARGEST_WEIGHT)) is None else weight,
        margin=_number(row, "margin", minimum=0.0, maximum=LARGEST_WEIGHT),
        lang=_optional_text(row, "lang"),
        source=_optional_text(row, "source"),
        subset=_optional_text(row, "subset"),
        merged_turns=merged,
    )


def _of_benchmark(row: dict[str, Any]) -> dict[str, Any]:
    """A row of RewardBench as one of ours: its prompt is a text, and chosen and rejected may be lists of texts."""
    row = dict(row)
    if isinstance(row.get("prompt"), str):
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
    sides = [row.get(key) for key in ("chosen", "rejected")]
    if all(isinstance(side, list) for side in sides) and "responses" not in row:
        chosen, rejected = row.pop("chosen"), row.pop("rejected")
        row["responses"] = [
            {"text": text, "rank": rank} for rank, texts in enumerate((chosen, rejected), start=1) for text in texts
        ]
        row.pop("models", None)
    return row


def _check_known(row: dict[str, Any]) -> None:
    """A row that lists its responses and says which of them was chosen must mean one of those."""
    if "responses" not in row:
        return
    texts = {item.get("text") for item, _ in _response_rows(row)}
    for key in ("chosen", "rejected"):
        if key in row and row[key] not in texts:
            raise RowError(f'"{key}" is none of the responses')


def _pair_models(row: dict[str, Any]) -> tuple[str | None, str | None]:
    """The models that wrote the chosen and the rejected response of a pair, where "models" names them."""
    models = row.get("models")
    if models is None:
        return None, None
    if not isinstance(models, list) or len(models) != 2:
        raise RowError('"models" must be a list of two names')
    chosen, rejected = (None if name is None else _text({"models": name}, "models") for name in models)
    return chosen, rejected


def prompt_responses(row: dict[str, Any]) -> PromptResponses:
    texts: tuple[str, ...]
    if "chosen" in row or "rejected" in row:
        texts = (_text(row, "chosen"), _text(row, "rejected"))
    elif "response" in row:
        texts = (_text(row, "response"),)
    else:
        texts = tuple(_text(item, "text", where) for item, where in _response_rows(row))
        if not texts:
            raise RowError('"responses" is empty')
    messages, _ = chat_of(row)
    return PromptResponses(id=id_of(row), messages=messages, texts=texts)


def document(row: dict[str, Any]) -> str:
    """A text on its own; only "text" is read."""
    return _text(row, "text")


PARSERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "documents": document,
    "prompts": prompt,
    "demonstrations": demonstration,
    "tasks": task,
    "rankings": ranking,
    "responses": prompt_responses,
}


def id_of(row: dict[str, Any]) -> str:
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise RowError('"id" is missing' if value is None else '"id" must be a non-empty string')
    return clean(value, '"id"')


def chat_of(row: dict[str, Any]) -> tuple[Messages, int]:
    """The chat under "prompt", and how many turns were merged into the one before.

    Perhaps a system turn, then user and assistant by turns, the user last. An assistant that goes on speaking in a
    second turn loses nothing by the two becoming one, a paragraph apart, and real chats have that. A user that does is
    refused: a response is missing there.
    """
    turns = row.get("prompt")
    if not isinstance(turns, list) or not turns:
        raise RowError('"prompt" is missing' if turns is None else '"prompt" must be a non-empty list of turns')
    messages: list[Message] = []
    places: list[int] = []
    merged = 0
    for index, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict):
            raise RowError(f'turn {index} of "prompt" must be an object, not {json_lines.kind(turn)}')
        where = f'turn {index} of "prompt": '
        message = Message(role=_text(turn, "role", where), content=_text(turn, "content", where))
        if index > 1 and message["role"] == "assistant" == messages[-1]["role"]:
            messages[-1]["content"] += "\n\n" + message["content"]
            merged += 1
        else:
            messages.append(message)
            places.append(index)
    dialogue = messages[1:] if messages[0]["role"] == "system" else messages
    for index, message in enumerate(dialogue):
        expected = "user" if index % 2 == 0 else "assistant"
        if message["role"] != expected:
            place = places[index + len(messages) - len(dialogue)]
            raise RowError(f'turn {place} of "prompt" has the role {message["role"]!r} where {expected!r} belongs')
    if len(dialogue) % 2 == 0:
        raise RowError('the last turn of "prompt" must be the user\'s')
    if not dialogue[-1]["content"].strip():
        raise RowError('the last turn of "prompt" is empty')
    return tuple(messages), merged


def _response_rows(row: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    items = row.get("responses")
    if not isinstance(items, list):
        raise RowError('"responses" is missing' if items is None else '"responses" must be a list')
    for index, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise RowError(f"response {index} must be an object, not {json_lines.kind(item)}")
        yield item, f"response {index}: "


def _ranked(item: dict[str, Any], where: str) -> RankedResponse:
    if "rank" not in item:
        raise RowError(f'{where}"rank" is missing')
    rank = item["rank"]
    if isinstance(rank, float) and rank.is_integer():
        rank = int(rank)
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 1):
        raise RowError(f'{where}"rank" must be a whole number from 1 on, or null')
    acceptable = item.get("acceptable")
    if acceptable is not None and not isinstance(acceptable, bool):
        raise RowError(f'{where}"acceptable" must be true, false or null')
    return RankedResponse(
        text=_text(item, "text", where),
        rank=rank,
        model=_optional_text(item, "model", where),
        score=_number(item, "score", where),
        acceptable=acceptable,
        ratings=_ratings(item, where),
    )


def _ratings(item: dict[str, Any], where: str) -> dict[str, float]:
    """The ratings of a response that are numbers; what was given to other criteria of a rubric is none."""
    ratings = item.get("ratings")
    if ratings is None:
        return {}
    if not isinstance(ratings, dict):
        raise RowError(f'{where}"ratings" must be an object, not {json_lines.kind(ratings)}')
    for name in ratings:
        clean(name, f"{where}a rating's name")
    numbers = {name: _number(ratings, name, where) for name in ratings if _is_number(ratings[name])}
    return {name: value for name, value in numbers.items() if value is not None}


def _text(row: dict[str, Any], key: str, where: str = "") -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise RowError(f'{where}"{key}" is missing' if value is None else f'{where}"{key}" must be a string')
    return clean(value, f'{where}"{key}"')


def _optional_text(row: dict[str, Any], key: str, where: str = "") -> str | None:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value is None else _text(row, key, where)


def clean(text: str, where: str) -> str:
    """Text without NUL and lone surrogates, which neither a tokenizer nor a UTF-8 file can hold."""
    if "\0" in text:
        raise RowError(f"{where} contains a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{where} contains half of a surrogate pair") from None
    return text


def _number(
    row: dict[str, Any], key: str, where: str = "", *, minimum: float = -LARGEST_NUMBER, maximum: float = LARGEST_NUMBER
) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if not _is_number(value) or not math.isfinite(value):
        raise RowError(f'{where}"{key}" must be a finite number')
    if value < minimum:
        raise RowError(f'{where}"{key}" must be at least {minimum:g}')
    if value > maximum:
        raise RowError(f'{where}"{key}" must be at most {maximum:g}')
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
