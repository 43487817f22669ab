"""Every field of every kind of row, given every kind of value: read, or refused by a sentence with the line."""

import copy
import json
import math
import re
from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows import records, row_parser

CHAT = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "u"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "v"},
]
RESPONSE = {
    "text": "t", "rank": 1, "model": "m", "score": 1.5, "acceptable": True, "ratings": {"help": 3, "tone": 4.5},
    "finish_reason": "stop", "logprob": -1.0,
}  # fmt: skip
JUDGED = {"task": "t", "labeler": "l", "judge": "human", "weight": 1.0, "margin": 0.5, "lang": "en", "source": "s"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "prompts": [{"id": "1", "prompt": CHAT, "lang": "en"}],
    "demonstrations": [{"id": "1", "prompt": CHAT, "response": "r", "label": "x", "options": ["a", 1]}],
    "tasks": [{"id": "1", "prompt": CHAT, "response": "r", "label": "x", "options": ["a", 1]}],
    "rankings": [
        {"id": "1", "prompt": CHAT, "responses": [RESPONSE, {**RESPONSE, "text": "w", "rank": 2}], **JUDGED},
        {"id": "1", "prompt": CHAT, "chosen": "c", "rejected": "r", "models": ["a", "b"], **JUDGED},
    ],
    "responses": [
        {"id": "1", "prompt": CHAT, "responses": [RESPONSE]},
        {"id": "1", "prompt": CHAT, "chosen": "c", "rejected": "r"},
        {"id": "1", "prompt": CHAT, "response": "r"},
    ],
    "documents": [{"id": "1", "text": "t"}],
}
VALUES = [
    "9" * 400, "-" + "9" * 400, "9" * 5000, "9" * 300, "1e308", "-1e308", "1e999", "-1e999", "1e-400", "0", "-0",
    "-0.0", "-1", "1.5", "NaN", "Infinity", "-Infinity", "null", "true", "false", '""', '" "',
    '"\\ud83d"', '"\\ude00\\ud83d"',
    '"\\u0000"', '"\\u2028"', '"4.5"', "[]", "[[]]", "[null]", '["\\ud83d"]', "{}", '{"a": 1}', '{"\\ud83d": 1}',
    '{"a": ' + "9" * 400 + "}", '{"text": null}',
]  # fmt: skip
"""As JSON, since some are nothing that Python would write."""
MARK = "\ufdd0the value\ufdd1"


def places(value: Any) -> list[tuple[Any, ...]]:
    """The way to every value inside a row."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(key, *rest) for key, item in inside for rest in ((), *places(item))]


def replaced(row: dict[str, Any], way: tuple[Any, ...], value: str) -> str:
    row = copy.deepcopy(row)
    where: Any = row
    for key in way[:-1]:
        where = where[key]
    where[way[-1]] = MARK
    return json.dumps(row).replace(json.dumps(MARK), value)


CASES = [(kind, number, way) for kind, rows in ROWS.items() for number, row in enumerate(rows) for way in places(row)]


@pytest.mark.parametrize(("kind", "number", "way"), CASES, ids=lambda part: str(part))
def test_a_hostile_value_is_read_or_refused_by_line(tmp_path, kind, number, way):
    for value in VALUES:
        line = replaced(ROWS[kind][number], way, value)
        path = tmp_path / "rows.jsonl"
        path.write_text(line + "\n", encoding="utf-8")
        refused = None
        try:
            (record,) = row_parser.read(path, kind)
        except BadInput as error:
            refused = str(error)
        if refused is not None:
            assert re.match(r"rows\.jsonl, line 1: .+\.$", refused), (value, refused)
            continue
        assert all(map(math.isfinite, numbers(record))), value
        assert max(map(abs, numbers(record)), default=0) <= 1e300, value
        texts(record).encode("utf-8")


def numbers(record: Any) -> list[float]:
    """Every number that a record holds where one is read."""
    if not isinstance(record, records.Ranking):
        return []
    own = [record.weight, record.margin or 0.0]
    return own + [
        number for response in record.responses for number in (response.score or 0, *response.ratings.values())
    ]


def texts(record: Any) -> str:
    """Every text of a record that is read, end to end."""
    if isinstance(record, str):
        return record
    found = [record.id, *(turn["role"] + turn["content"] for turn in record.messages)]
    if isinstance(record, records.Ranking):
        found += [response.text + str(response.model) for response in record.responses]
        found += [str(value) for value in (record.task, record.labeler, record.judge, record.lang, record.source)]
    elif not isinstance(record, records.Prompt):
        found += [*record.texts, *getattr(record, "fields", {}), *getattr(record, "fields", {}).values()]
    return "".join(found)


def test_a_weight_that_fp32_would_lose_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS["rankings"][1] | {"weight": 1e38}) + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match='line 1: "weight" must be at most 1e\\+06'):
        row_parser.read(path, "rankings")
