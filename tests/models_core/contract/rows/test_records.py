"""Data rows: what is read, and the sentence for what is not."""

import json

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows import json_lines, row_parser
from models_core.contract.rows.records import Demonstration, Prompt, RankedResponse

USER = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def file(tmp_path):
    def write(*rows, name="rows.jsonl"):
        path = tmp_path / name
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    return write


def test_a_prompt_keeps_its_other_keys(file):
    (prompt,) = row_parser.read(file({"id": "a", "prompt": USER, "lang": "en"}), "prompts")
    assert prompt == Prompt(id="a", messages=({"role": "user", "content": "Hello"},), extra={"lang": "en"})


def test_a_demonstration(file):
    (row,) = row_parser.read(file({"id": 7, "prompt": USER, "response": "Hi", "origin": "human"}), "demonstrations")
    assert row == Demonstration(id="7", messages=tuple(USER), response="Hi", fields={"origin": "human"})


def test_a_templates_row_may_lack_prompt_and_response_and_keeps_its_other_keys_as_texts(file):
    keys = {"text": "so so", "stars": 3, "sure": True, "options": ["good", "bad"], "deep": {"a": 1}, "nothing": None}
    bare, whole = row_parser.read(file({"id": "a", **keys}, {"id": "b", "prompt": USER, "response": "Hi"}), "tasks")
    assert bare == Demonstration(
        id="a",
        messages=(),
        response="",
        fields={"text": "so so", "stars": "3", "sure": "true", "options": "good, bad"},
    )
    assert whole == Demonstration(id="b", messages=tuple(USER), response="Hi")


def test_what_an_assistant_said_in_two_turns_becomes_one_and_is_counted(file):
    said = [{"role": "assistant", "content": text} for text in ("one", "two", "three")]
    (row,) = row_parser.read(file({"id": "a", "prompt": [*USER, *said, *USER], "response": "x"}), "demonstrations")
    assert row.messages == (*USER, {"role": "assistant", "content": "one\n\ntwo\n\nthree"}, *USER)
    assert row.merged_turns == 2
    ranking = {"id": "a", "prompt": [*USER, *said[:2], *USER], "chosen": "x", "rejected": "y"}
    (row,) = row_parser.read(file(ranking), "rankings")
    assert (len(row.messages), row.merged_turns) == (3, 1)


@pytest.mark.parametrize("kind", ["demonstrations", "tasks"])
def test_an_empty_response_is_refused(file, kind):
    with pytest.raises(BadInput, match='line 1: "response" is empty'):
        row_parser.read(file({"id": "a", "prompt": USER, "response": " \n"}), kind)


def test_a_ranking_with_ties_and_an_unranked_response(file):
    responses = [
        {"text": "x", "rank": 1, "model": "m", "score": 2},
        {"text": "", "rank": 1},
        {"text": "z", "rank": None},
    ]
    (row,) = row_parser.read(
        file({"id": "a", "prompt": USER, "responses": responses, "labeler": "l1", "weight": 0.5, "margin": 1}),
        "rankings",
    )
    assert row.responses == (
        RankedResponse(text="x", rank=1, model="m", score=2.0),
        RankedResponse(text="", rank=1),
        RankedResponse(text="z", rank=None),
    )
    assert (row.labeler, row.weight, row.margin, row.judge) == ("l1", 0.5, 1.0, None)


def test_a_pair_is_a_ranking_of_two(file):
    (row,) = row_parser.read(
        file({"id": "a", "prompt": USER, "chosen": "good", "rejected": "bad", "margin": 2}), "rankings"
    )
    assert [(response.text, response.rank) for response in row.responses] == [("good", 1), ("bad", 2)]
    assert (row.margin, row.weight) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"responses": [{"text": "a", "finish_reason": "stop"}]}, ("a",)),
        ({"chosen": "a", "rejected": "b"}, ("a", "b")),
        ({"response": "a"}, ("a",)),
    ],
)
def test_responses_are_taken_from_rows_of_any_kind(file, row, texts):
    (responses,) = row_parser.read(file({"id": "1", "prompt": USER, **row}), "responses")
    assert responses.texts == texts


def test_byte_order_mark_crlf_and_blank_lines_are_no_error(file):
    row = json.dumps({"id": "a", "prompt": USER}).encode()
    path = file(b"\xef\xbb\xbf" + row + b"\r", b"", b"   \r", row)
    assert [prompt.id for prompt in row_parser.read(path, "prompts")] == ["a", "a"]
    assert [number for number, _ in row_parser.rows(path)] == [1, 4]


GOOD = {"id": "a", "prompt": USER}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[1]", "a row must be a JSON object, not a list"),
        (b'{"id": "\xff"}', "not UTF-8 text (byte 9 of the line)"),
        (b'{"id": "a\0"}', "contains a NUL byte"),
        (b'{"id": "a", "prompt": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "not valid JSON (a nesting out of bounds)"),
        (b'{"n": ' + b"9" * 5000 + b"}", '"n" holds a number that is out of bounds'),
        ({"prompt": USER}, '"id" is missing'),
        ({"id": "", "prompt": USER}, '"id" must be a non-empty string'),
        ({"id": "a"}, '"prompt" is missing'),
        ({"id": "a", "prompt": "Hello"}, '"prompt" must be a non-empty list of turns'),
        ({"id": "a", "prompt": []}, '"prompt" must be a non-empty list of turns'),
        ({"id": "a", "prompt": ["Hello"]}, 'turn 1 of "prompt" must be an object, not a string'),
        ({"id": "a", "prompt": [{"role": "user"}]}, 'turn 1 of "prompt": "content" is missing'),
        ({"id": "a", "prompt": [{"role": "user", "content": 3}]}, '"content" must be a string'),
        ({"id": "a", "prompt": [{"role": "user", "content": " "}]}, 'the last turn of "prompt" is empty'),
        ({"id": "a", "prompt": [{"role": "user", "content": "\ud800"}]}, "contains half of a surrogate pair"),
        ({"id": "a", "prompt": [{"role": "user", "content": "a\0"}]}, "contains a NUL character"),
        ({"id": "a", "prompt": USER + USER}, "turn 2 of \"prompt\" has the role 'user' where 'assistant' belongs"),
        (
            {"id": "a", "prompt": [*USER, *[{"role": "assistant", "content": "x"}] * 2, *USER, *USER]},
            "turn 5 of \"prompt\" has the role 'user' where 'assistant' belongs",
        ),
        (
            {"id": "a", "prompt": [*USER, {"role": "assistant", "content": "x"}]},
            'the last turn of "prompt" must be the user\'s',
        ),
        (
            {"id": "a", "prompt": [*USER, {"role": "system", "content": "x"}, *USER]},
            "turn 2 of \"prompt\" has the role 'system' where 'assistant' belongs",
        ),
    ],
)
def test_a_bad_prompt_is_named_by_file_line_and_reason(file, row, reason):
    with pytest.raises(BadInput) as caught:
        row_parser.read(file(GOOD, b"", row, name="prompts.jsonl"), "prompts")
    assert str(caught.value).startswith("prompts.jsonl, line 3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"responses": [{"text": "a", "rank": 1}]}, '"responses" must hold at least two responses'),
        ({"responses": {"text": "a"}}, '"responses" must be a list'),
        ({}, '"responses" is missing'),
        ({"responses": ["a", "b"]}, "response 1 must be an object, not a string"),
        ({"responses": [{"text": "a"}, {"text": "b"}]}, 'response 1: "rank" is missing'),
        (
            {"responses": [{"text": "a", "rank": 0}, {"text": "b", "rank": 1}]},
            "must be a whole number from 1 on, or null",
        ),
        ({"responses": [{"text": "a", "rank": True}, {"text": "b", "rank": 1}]}, "must be a whole number from 1 on"),
        ({"responses": [{"text": "a", "rank": 1.5}, {"text": "b", "rank": 1}]}, "must be a whole number from 1 on"),
        ({"responses": [{"rank": 1}, {"text": "b", "rank": 1}]}, 'response 1: "text" is missing'),
        ({"responses": [{"text": "a", "rank": 1, "acceptable": 1}]}, '"acceptable" must be true, false or null'),
        ({"chosen": "a"}, '"rejected" is missing'),
        ({"chosen": "a", "rejected": "b", "weight": -1}, '"weight" must be at least 0'),
        ({"chosen": "a", "rejected": "b", "weight": "heavy"}, '"weight" must be a finite number'),
    ],
)
def test_a_bad_ranking_is_named_by_line_and_reason(file, row, reason):
    with pytest.raises(BadInput) as caught:
        row_parser.read(file({"id": "a", "prompt": USER, **row}), "rankings")
    assert str(caught.value).startswith("rows.jsonl, line 1: ")
    assert reason in str(caught.value)


def test_a_file_without_rows_or_without_a_file(file, tmp_path):
    with pytest.raises(BadInput, match="the file has no rows"):
        row_parser.read(file(b""), "prompts")
    with pytest.raises(BadInput, match="cannot be read"):
        row_parser.read(tmp_path / "absent.jsonl", "prompts")
    with pytest.raises(BadInput, match="cannot be read"):
        row_parser.read(tmp_path, "prompts")


def test_a_line_beyond_the_limit_is_refused_unread(file, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 2**20)
    with pytest.raises(BadInput, match="line 1: the line is longer than 1 MiB"):
        row_parser.read(file(b'"' + b"x" * 2**21), "prompts")
