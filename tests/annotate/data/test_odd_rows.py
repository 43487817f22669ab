"""Every field of every format with every odd value: a row that can be stored, or a reason; nothing else."""

import copy
import dataclasses
import datetime
import decimal
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotate.formats import IMPORTERS
from annotate.formats.rows import BadRow, ImportedRow, LeftOut, parsed
from tests.annotate.data.foreign_rows import FOREIGN

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "data.md"
REPLIED = {"role": "assistant", "content": "b"}
PROMPT = [{"role": "user", "content": "Name a fruit."}]
JUDGED = {
    "labeler": "l",
    "weight": 1,
    "seconds": 2,
    "timestamp": "2020-01-01",
    "comment": "c",
    "rubric": 1,
    "task": "t",
}
RATED = {"ratings": {"x": 1}, "score": 1, "label": True, "flags": ["f"], "acceptable": True, "critique": "c"}
RANKED = {"text": "a", "rank": 1, "score": 1, "ratings": {"q": 1}, "flags": ["x"], "note": "n", "acceptable": False}
VOTE = {"choice": "a", "annotator": "z", "strength": "tie", "a_acceptable": True, "comment": "c", "timestamp": "2020"}
ANNOTATION = {"was_cancelled": False, "completed_by": {"id": 1}, "lead_time": 2, "created_at": "x"}
FLAT = {"id": 1, "prompt": "a", "annotator": 7, "annotation_id": 5, "lead_time": 2, "created_at": "x"}
REPLY = {"text": "b", "role": "assistant", "rank": 0, "synthetic": True, "model_name": "m", "deleted": False}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("hone", {"prompt": PROMPT, "id": "1", "lang": "en", "source": "s", "kind": "plain", "use_case": "other"}),
    ("hone", {"prompt": PROMPT, "sensitive": True, "split": "train", "opening": PROMPT, "system": "s"}),
    ("hone", {"prompt": "a", "response": "b", "author": "x", "author_kind": "person", "finish_reason": "eos"}),
    ("hone", {"prompt": PROMPT, "completion": [{"role": "assistant", "content": "a"}], "origin": "human", **RATED}),
    ("hone", {"prompt": PROMPT, "chosen": "a", "rejected": "b", "models": ["a", "b"], "margin": 1, **JUDGED}),
    ("hone", {"prompt": PROMPT, "responses": [{**RANKED, "model": "m"}, {"text": "b", "rank": 2}], **JUDGED}),
    ("hone", {"prompt": PROMPT, "response_a": "a", "response_b": "b", "models": ["x", "y"], "votes": [VOTE]}),
    ("alpaca", {"instruction": "a", "input": "b", "output": "c", "history": [["a", "b"]], "system": "s", "id": 1}),
    ("alpaca_eval", {"instruction": "a", "output_1": "b", "output_2": "c", "preference": 1.2, "generator_1": "x"}),
    (
        "conversations",
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "label": True},
    ),
    ("conversations", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "model": "m"}),
    ("conversations", {"conversation": PROMPT, "chosen": {"from": "gpt", "value": "b"}, "rejected": "c", "judge": "x"}),
    ("conversations", {"prompt": "a", "prompt_id": "p", "messages": [{"role": "user", "content": "a"}, REPLIED]}),
    ("alpaca", {"instruction": "a", "context": "b", "response": "c"}),
    ("hh", {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}),
    (
        "label_studio",
        {
            "id": 1,
            "data": {"prompt": "a", "answer1": "b", "answer2": "c"},
            "annotations": [{**ANNOTATION, "result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
        },
    ),
    ("label_studio", {**FLAT, "answer1": "b", "answer2": "c", "pick": [{"selected": "left"}]}),
    ("label_studio", {**FLAT, "response": "b", "help": '[{"rating": 3}]'}),
    ("argilla", {"prompt": "a", "response": "b", "q.responses": [3], "q.responses.users": ["u"], "id": "1"}),
    (
        "argilla",
        {
            "prompt": "a",
            "response-1": "b",
            "response-2": "c",
            "order": {"user_id": ["u"], "value": [{"rank": [1], "value": ["response-1"]}], "status": ["submitted"]},
            "help-1": [{"user_id": "u", "value": 3, "status": "submitted"}],
            "help-1-suggestion": 4,
            "help-1-suggestion-metadata": None,
            "metadata": '{"lang": "en"}',
        },
    ),
    ("mt_bench", {"question_id": 1, "turns": ["a", "b"]}),
    (
        "oasst",
        {
            "message_tree_id": "t",
            "prompt": {
                "text": "a",
                "role": "prompter",
                "message_id": "m",
                "lang": "en",
                "rank": 0,
                "replies": [{**REPLY, "replies": [{"text": "c", "role": "prompter"}]}, {**REPLY, "rank": 1}],
            },
        },
    ),
    (
        "open_instruct",
        {
            "prompt": "a",
            "completion_a": "b",
            "completion_b": "c",
            "preference": "tie",
            "model_a": "x",
            "evaluator": "e",
            "timestamp": "t",
            "instance_id": 1,
            "completion_a_is_acceptable": "yes",
        },
    ),
    ("pandalm", {"instruction": "a", "response1": "b", "response2": "c", "annotator1": 1, "cmp_key": "a_b", "idx": 1}),
    ("stack_exchange", {"question": "a", "response_j": "b", "response_k": "c", "qid": 1}),
    ("instructgpt", {"question": "a", "answer": "b", "model_type": "m", "true": 0.1, "info": 0.2}),
    ("instructgpt", {"context": "a", "sample": "b", "model_type": "m", "ref_text": "c", "toxicity": 0.2}),
    ("text", {"text": "a"}),
    *FOREIGN.items(),
    ("safe_rlhf", {"prompt": "How?", "category": {"theft": True}, "response": "So.", "is_safe": False}),
]
HUGE = "9" * 400
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2.5, float("nan"), float("inf"), int(HUGE), 10**18 + 1),
    *("", "  ", "\0", "\ud800", "a\ud800", "1e999", HUGE, "x" * 300, "\uff11\uff12", "\u0663"),
    *([], [[]], [None], [1], ["a"], [{}], [{"a": {}}], [{"name": [], "value": 1}], {}, {"a": 1}, {"\ud800": "\ud800"}),
    # What a Parquet file may hold besides.
    *(b"x", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), decimal.Decimal("1.5"), [("a", 1)]),
]


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*before, key)
        yield from places(item, (*before, key))


def changed(row: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    at: Any = row
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return row


def test_every_format_has_rows_here_and_a_row_in_the_documents():
    assert {format for format, _row in ROWS} == set(IMPORTERS)
    table = DOCUMENT.read_text(encoding="utf-8")
    assert [format for format in IMPORTERS if f"`{format}`" not in table] == []


@pytest.mark.parametrize(("format", "row"), ROWS, ids=[f"{name} {list(row)[-1]}" for name, row in ROWS])
def test_a_field_of_any_value_can_be_stored_or_is_refused(format, row):
    assert any(isinstance(each, ImportedRow) for each in parsed(IMPORTERS[format], copy.deepcopy(row)))
    for place in places(row):
        for value in ODD:
            try:
                found = parsed(IMPORTERS[format], changed(row, place, copy.deepcopy(value)))
            except (BadRow, LeftOut) as reason:
                str(reason).encode()  # it can be shown
                continue
            for each in found:
                if isinstance(each, ImportedRow):
                    text = json.dumps(dataclasses.asdict(each), ensure_ascii=False, allow_nan=False)
                    assert "\\u0000" not in text, (place, value)
                    text.encode()


def test_whatever_a_first_row_holds_no_format_stumbles_over_it():
    for _format, row in ROWS:
        # What tells a format is at the top, or just below.
        for place in (place for place in places(row) if len(place) <= 2):
            for value in ODD:
                odd = changed(row, place, value)
                for module in IMPORTERS.values():
                    assert module.recognises(odd) in (True, False)


LEAF = {"text": "And then?", "role": "prompter"}
RANKED_REPLY = {**REPLY, "deleted": False}
TREE = {"text": "a", "role": "prompter", "message_id": "m", "replies": [RANKED_REPLY, {**RANKED_REPLY, "rank": 1}]}


@pytest.mark.parametrize(
    ("format", "row", "named"),
    [
        (
            "oasst",
            {"message_tree_id": "t", "prompt": {**TREE, "replies": [*TREE["replies"], {**REPLY, "deleted": True}]}},
            ("prompt.replies.text", "deleted there"),
        ),
        (
            "oasst",
            {"message_tree_id": "t", "prompt": {**TREE, "replies": [*TREE["replies"], {**REPLY, "replies": [LEAF]}]}},
            ("prompt.replies.text", "nobody replied to it"),
        ),
        ("conversations", {"messages": PROMPT, "model": "m"}, ("model", "the chat has no response of it")),
        ("conversations", {"messages": PROMPT, "generator": "m"}, ("generator", "the chat has no response of it")),
    ],
)
def test_a_text_or_name_without_a_place_is_named(format, row, named):
    (first, *_others) = parsed(IMPORTERS[format], row)
    assert isinstance(first, ImportedRow)
    assert named in first.not_kept


def test_a_message_of_nobody_known_breaks_its_tree():
    row = {"message_tree_id": "t", "prompt": {**TREE, "replies": [*TREE["replies"], {**REPLY, "role": "system"}]}}
    with pytest.raises(BadRow, match="must be prompter or assistant"):
        parsed(IMPORTERS["oasst"], row)
