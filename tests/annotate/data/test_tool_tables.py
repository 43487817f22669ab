"""Tables and flat rows that annotation tools export beside their nested records, written for these tests."""

import json
from typing import Any

import pytest

from annotate.formats import detect, rows_of
from annotate.formats.rows import BadRow, LeftOut
from tests.annotate.data.foreign_rows import APPLE, QUESTION
from tests.annotate.data.test_foreign_formats import read, said

PAIR = {"prompt": "Name a fruit.", "response-1": "An apple.", "response-2": "A pear."}


def test_argilla_tables_of_version_2_have_columns_for_answers(tmp_path):
    answers = {
        "order.responses": [["response-2", "response-1"], ["response-1", "response-2"]],
        "order.responses.users": ["ann", "ben"],
        "order.responses.status": ["submitted", "discarded"],
        "help-1.responses": [4],
        "help-1.responses.users": ["ann"],
        "help-1.responses.status": ["submitted"],
        "order.suggestion": ["response-1", "response-2"],
        "order.suggestion.agent": "m",
        "order.suggestion.score": None,
    }
    row = {"id": "r", "status": "completed", "_server_id": "x", **PAIR, "lang": "en", **answers}
    (found,) = read(row, tmp_path)
    assert (said(found), found.labeler) == ([("An apple.", 2), ("A pear.", 1)], "ann")
    assert (found.responses[0].ratings, found.id, found.language) == ({"help": 4}, "r", "en")
    assert dict(found.not_kept) == {
        "order.suggestion": "a model's suggestions, which nobody confirmed",
        "responses.order.status": "drafts and discarded answers are no judgments",
        "responses.order.value": "drafts and discarded answers are no judgments",
    }


def test_argilla_tables_of_version_1_hold_answers_as_objects_or_lists(tmp_path):
    order = [{"rank": 1, "value": "response-2"}, {"rank": 2, "value": "response-1"}]
    listed = [{"user_id": "ann", "value": order, "status": "submitted"}]
    columns = {"rank": [1, 2], "value": ["response-2", "response-1"]}
    stored = {"user_id": ["ann"], "value": [columns], "status": ["submitted"]}
    for given in (listed, stored):
        (found,) = read({**PAIR, "order": given, "external_id": "e", "metadata": '{"lang": "en"}'}, tmp_path)
        assert (said(found), found.labeler) == ([("An apple.", 2), ("A pear.", 1)], "ann")
        assert (found.id, found.language, found.not_kept) == ("e", "en", ())
    unanswered = {"prompt": "Name a fruit.", "q": None, "q-suggestion": None, "q-suggestion-metadata": None}
    (found,) = read(unanswered, tmp_path)
    assert (found.messages, found.responses, found.source) == ([QUESTION], (), "Argilla")


def flat(tmp_path, **columns: Any) -> Any:
    row = {"prompt": "Name a fruit.", **columns, "id": 1, "annotator": 7, "annotation_id": 5, "lead_time": 2.5}
    (found,) = read(row, tmp_path)
    return found


def test_label_studio_rows_of_json_min_and_csv_are_judgments(tmp_path):
    pair = {"answer1": "An apple.", "answer2": "A pear."}
    row = flat(tmp_path, **pair, pick=[{"selected": "right"}], why=[{"text": ["Pears", "keep."]}], mood="good")
    assert (said(row), row.labeler, row.seconds) == ([("An apple.", 2), ("A pear.", 1)], "annotator 7", 2.5)
    assert (row.comment, dict(row.not_kept)) == ("Pears\n\nkeep.", {"mood": ""})
    row = flat(tmp_path, response="An apple.", help='[{"rating": 4}]')
    assert (row.rated, row.responses[0].ratings) == (True, {"help": 4})
    items = '[{"id": "a", "body": "An apple."}, {"id": "b", "body": "A pear."}]'
    row = flat(tmp_path, items=items, order='[{"ranker": {"rank": ["b", "a"]}}]')
    assert said(row) == [("An apple.", 2), ("A pear.", 1)]
    row = flat(tmp_path, response="A plum.")
    assert (row.demonstration, row.author, row.author_kind) == ("A plum.", "annotator 7", "person")
    assert str(flat(tmp_path)) == "nobody responded"


def test_instructgpt_samples_are_responses_of_models(tmp_path):
    row = {"model_type": "sft-6b", "prompt_type": "zeroshot", "context": "Name a fruit.", "sample": "An apple."}
    (found,) = read({**row, "ref_text": "Plum"}, tmp_path)
    assert (said(found), found.responses[0].model, found.ranked, found.rated) == (
        [("An apple.", None)],
        "sft-6b",
        False,
        False,
    )
    assert set(dict(found.not_kept)) == {"prompt_type", "ref_text"}
    (found,) = read({**row, "toxicity": "0.25"}, tmp_path)
    assert (found.rated, found.responses[0].ratings, found.judge) == (True, {"toxicity": 0.25}, "ai")
    with pytest.raises(LeftOut, match="a response is empty"):
        read({**row, "sample": " "}, tmp_path)


def test_a_prompt_said_again_before_its_chat_is_no_prompt_alone(tmp_path):
    (found,) = read({"prompt": "Name a fruit.", "prompt_id": "p", "messages": [QUESTION, APPLE]}, tmp_path)
    assert (found.demonstration, found.messages, found.id, found.not_kept) == ("An apple.", [QUESTION], "p", ())
    (found,) = read({"prompt": "Other", "messages": [QUESTION, APPLE]}, tmp_path)
    assert dict(found.not_kept) == {"prompt": ""}


def test_dolly_rows_are_demonstrations(tmp_path):
    (found,) = read({"instruction": "Name a fruit.", "context": "Apples.", "response": "An apple."}, tmp_path)
    assert (found.demonstration, found.messages[0]["content"]) == ("An apple.", "Name a fruit.\n\nApples.")


def test_the_arena_of_2025_has_parts_and_another_word_for_both_bad(tmp_path):
    asked, said_a, said_b = (
        {"role": role, "content": [{"type": "text", "text": text, "image": None}]}
        for role, text in (("user", "Name a fruit."), ("assistant", "Bread."), ("assistant", "Stone."))
    )
    sides = {"conversation_a": [asked, said_a], "conversation_b": [asked, said_b], "evaluation_session_id": "s"}
    (found,) = read({"model_a": "x", "model_b": "y", "winner": "both_bad", **sides}, tmp_path)
    assert [(response.rank, response.acceptable) for response in found.responses] == [(1, False), (1, False)]
    assert (found.messages, found.source) == ([QUESTION], "Chatbot Arena")


def test_open_assistant_messages_are_joined_to_their_trees(tmp_path):
    def message(number: str, parent: str | None, text: str, rank: int | None = None, tree: str = "t") -> dict[str, Any]:
        role = "prompter" if number.startswith("p") else "assistant"
        ids = {"message_id": number, "parent_id": parent, "message_tree_id": tree}
        return {**ids, "text": text, "role": role, "rank": rank, "lang": "en"}

    rows = [
        message("p1", None, "Name a fruit."),
        message("a1", "p1", "A pear.", 1),
        message("p2", "a2", "Another."),
        message("a2", "p1", "An apple.", 0),
        message("a3", "p2", "A plum.", 1),
        message("a4", "p2", "A fig.", 0),
        message("a9", "nowhere", "Lost."),
        message("p5", None, "Name a hen.", tree="u"),
    ]
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert detect(path) == "oasst"
    (first, trees), (lost, why), (last, alone) = rows_of(path, "oasst")
    assert isinstance(trees, list)
    one, two = trees
    assert said(one) == [("A pear.", 2), ("An apple.", 1)]
    assert said(two) == [("A plum.", 2), ("A fig.", 1)]
    assert [turn["content"] for turn in two.messages] == ["Name a fruit.", "An apple.", "Another."]
    assert (first, one.id, two.opening, set(dict(one.not_kept))) == (
        "line 1",
        "p1",
        [QUESTION],
        {"message_tree_id", "prompt.replies.message_id"},
    )
    assert (lost, str(why), why.values["text"]) == ("line 7", str(why), "Lost.")
    assert "isn't in the file" in str(why)
    assert (last, [str(each) for each in alone]) == ("line 8", ["no replies to it were ranked"])


def test_open_assistant_messages_of_odd_trees_end_in_a_sentence(tmp_path):
    chain = [
        {"message_id": f"m{at}", "parent_id": f"m{at - 1}" if at else None, "message_tree_id": "t", "text": "x"}
        | {"role": "assistant" if at % 2 else "prompter"}
        for at in range(300)
    ]
    around = [{**chain[1], "message_id": number, "parent_id": other} for number, other in (("a", "b"), ("b", "a"))]
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*chain, *around, chain[0]]))
    found = list(rows_of(path, "oasst"))
    twice = [(place, row) for place, row in found if isinstance(row, BadRow)]
    assert [place for place, _row in twice] == ["line 303"]
    left = [place for place, row in found if isinstance(row, LeftOut)]
    assert left[0] == "line 102"
    assert left[-2:] == ["line 301", "line 302"]
    assert len(found) == 1 + 199 + 2 + 1
