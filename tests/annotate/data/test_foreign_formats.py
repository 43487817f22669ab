"""Rows of other people's formats, written for these tests, as Hone reads them."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from annotate.formats import IMPORTERS, detect, rows_of
from annotate.formats.rows import BadRow, ImportedRow, LeftOut, parsed
from tests.annotate.data.foreign_rows import APPLE, FOREIGN, PEAR, QUESTION


def read(row: dict[str, Any], tmp_path, *, tools: bool = False) -> list[ImportedRow]:
    """The rows that a file of one row brings, by the format that is detected."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    ((_place, found),) = rows_of(path, detect(path), keep_tools=tools)
    if isinstance(found, BadRow | LeftOut):
        raise found
    return found


def said(row: ImportedRow) -> list[tuple[str, int | None]]:
    return [(response.text, response.rank) for response in row.responses]


@pytest.mark.parametrize("format", FOREIGN)
def test_a_file_of_each_format_is_detected(tmp_path, format):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([FOREIGN[format]]))
    assert detect(path) == format
    first = next(name for name, module in IMPORTERS.items() if module.recognises(FOREIGN[format]))
    assert first == format


def test_the_example_of_a_new_format_reads_its_rows() -> None:
    """As CONTRIBUTING.md has it, so that it can be copied."""
    text = (Path(__file__).resolve().parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = text.partition("## How to add an import format")[2].split("```")[1]
    module = ModuleType("ask_say")
    exec(code, module.__dict__)
    given = {"ask": "Name a fruit.", "say": "An apple.", "mood": "fine"}
    assert module.recognises(given)
    (row,) = parsed(module, given)
    assert isinstance(row, ImportedRow)
    assert (row.messages, row.demonstration, row.author_kind) == ([QUESTION], "An apple.", "person")
    assert [key for key, _why in row.not_kept] == ["mood"]
    with pytest.raises(BadRow, match="say"):
        parsed(module, given | {"say": 3})


def test_ultrafeedback_is_a_ranking_by_the_mean_rating(tmp_path):
    (row,) = read(FOREIGN["ultrafeedback"], tmp_path)
    assert said(row) == [("An apple.", 1), ("A pear.", 2), ("Bread.", None)]
    first = row.responses[0]
    assert (first.ratings, first.score) == ({"helpfulness": 4.0, "honesty": 5.0}, 8.0)
    assert (first.note, first.model, first.author_kind) == ("Could say more.", "m-1", "model")
    assert (row.judge, row.judge_name, row.source, row.ranked) == ("ai", "gpt-4", "UltraFeedback made_up", True)
    assert dict(row.not_kept) == {
        "completions.annotations.helpfulness.Rationale": "",
        "completions.annotations.helpfulness.Rating": "not a number",
    }


def test_ultrafeedback_binarised_keeps_its_scores(tmp_path):
    row = {"prompt": "Name a fruit.", "prompt_id": "p", "chosen": [QUESTION, APPLE], "rejected": [QUESTION, PEAR]}
    (found,) = read({**row, "score_chosen": 9.0, "score_rejected": 3.5}, tmp_path)
    assert said(found) == [("An apple.", 1), ("A pear.", 2)]
    assert [response.score for response in found.responses] == [9.0, 3.5]


def test_helpsteer3_is_a_judgment_of_each_annotator(tmp_path):
    first, second, third = read(FOREIGN["helpsteer"], tmp_path)
    assert [said(row) for row in (first, second, third)] == [
        [("An apple.", 1), ("A pear.", 2)],
        [("An apple.", 2), ("A pear.", 1)],
        [("An apple.", 1), ("A pear.", 1)],
    ]
    assert [row.margin for row in (first, second, third)] == [3, 1, 0]
    assert (first.labeler, first.comment) == ("annotator 1", "The first is better.\n\nFine.\n\nDull.")
    assert (first.language, first.source, first.messages) == ("en", "HelpSteer general", [QUESTION])


def test_helpsteer2_holds_ratings_of_chats_and_preferences(tmp_path):
    chat = "Name a fruit.\n<extra_id_1>Assistant\nAn apple.\n<extra_id_1>User\nAnother."
    (row,) = read({"prompt": chat, "response": "A pear.", "helpfulness": 3, "verbosity": 1}, tmp_path)
    assert row.messages == [QUESTION, APPLE, {"role": "user", "content": "Another."}]
    assert (row.rated, row.responses[0].ratings) == (True, {"helpfulness": 3.0, "verbosity": 1.0})
    pair = {"prompt": "Name a fruit.", "response_1": "a", "response_2": "b", "preference_strength": 2}
    (row,) = read({**pair, "preference_statement": "b is longer."}, tmp_path)
    assert (said(row), row.margin, row.comment) == ([("a", 2), ("b", 1)], 2, "b is longer.")
    with pytest.raises(BadRow, match="must be a number from -3 to 3"):
        read({**pair, "preference_strength": 9}, tmp_path)


def test_helpsteer3_feedback_is_a_note_of_each_annotator(tmp_path):
    rows = read({"context": [QUESTION], "response": "An apple.", "feedback": ["Good.", "Short."]}, tmp_path)
    assert [row.responses[0].note for row in rows] == ["Good.", "Short."]
    assert all(row.rated for row in rows)


def test_shp_prefers_the_comment_that_the_label_says(tmp_path):
    (row,) = read(FOREIGN["shp"], tmp_path)
    assert said(row) == [("Plums.", 2), ("Any.", 1)]
    assert [response.score for response in row.responses] == [3, 11]
    assert {response.author_kind for response in row.responses} == {"person"}
    assert (row.source, row.id, dict(row.not_kept)) == ("SHP askbaking", "p1", {"upvote_ratio": ""})
    with pytest.raises(BadRow, match='"labels" must be 0 or 1'):
        read({**FOREIGN["shp"], "labels": 2}, tmp_path)


def test_nectar_is_an_order_of_several_responses(tmp_path):
    (row,) = read(FOREIGN["nectar"], tmp_path)
    asked = ["Hello.", "Good day!", "Name a fruit."]
    assert row.messages == [
        {"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), asked, strict=True)
    ]
    assert said(row) == [("A pear.", 2), ("An apple.", 1), ("Bread.", 2)]
    assert [response.model for response in row.responses] == ["m-2", "m-1", "m-3"]
    assert (row.judge, row.judge_name, row.source) == ("ai", "gpt-4", "Nectar made_up for_tests")
    assert dict(row.not_kept) == {"good_natured": ""}
    with pytest.raises(BadRow, match='"source" must be a list of texts'):
        read({**FOREIGN["nectar"], "source": {"a": 1}}, tmp_path)
    with pytest.raises(BadRow, match=r'"answers\.rank" must be a number from 1 on'):
        read({**FOREIGN["nectar"], "answers": [{"answer": "A", "rank": 0}, {"answer": "B", "rank": 1}]}, tmp_path)
    with pytest.raises(BadRow, match="a ranking needs 2 to 64 responses"):
        read({**FOREIGN["nectar"], "answers": []}, tmp_path)


def test_webgpt_prefers_the_higher_score_and_knows_ties(tmp_path):
    (row,) = read(FOREIGN["webgpt"], tmp_path)
    assert row.messages == [{"role": "user", "content": "Why is the sky blue?"}]
    assert said(row) == [("It reflects the sea.", 2), ("Air scatters short waves more [1].", 1)]
    assert ([response.score for response in row.responses], row.scale) == ([-0.5, 0.5], "-1 to 1")
    assert (row.id, row.source, row.judge) == ("q1", "WebGPT eli5", "human")
    assert dict(row.not_kept) == {"quotes_0": "", "quotes_1": ""}
    (tied,) = read({**FOREIGN["webgpt"], "score_0": 0.0, "score_1": 0.0}, tmp_path)
    assert [response.rank for response in tied.responses] == [1, 1]
    with pytest.raises(BadRow, match=r'"question\.full_text" is missing'):
        read({**FOREIGN["webgpt"], "question": {}}, tmp_path)
    with pytest.raises(BadRow, match='"score_1" must be a number'):
        read({**FOREIGN["webgpt"], "score_1": "much"}, tmp_path)


def test_safe_rlhf_keeps_the_harms_as_flags(tmp_path):
    (row,) = read(FOREIGN["safe_rlhf"], tmp_path)
    assert said(row) == [("Ask its owner.", 2), ("Break it.", 1)]
    assert [response.flags for response in row.responses] == [(), ("unsafe", "Theft")]
    assert [response.ratings for response in row.responses] == [{"severity_level": 0}, {"severity_level": 2}]
    assert ([response.model for response in row.responses], row.source) == (["m-1", "m-2"], "PKU-SafeRLHF made_up")
    assert set(dict(row.not_kept)) == {"safer_response_id"}
    with pytest.raises(BadRow, match='"better_response_id" must be 0 or 1'):
        read({**FOREIGN["safe_rlhf"], "better_response_id": 2}, tmp_path)
    (odd,) = read({**FOREIGN["safe_rlhf"], "response_1_harm_category": "theft"}, tmp_path)
    assert (odd.responses[1].flags, set(dict(odd.not_kept))) == (
        ("unsafe",), {"safer_response_id", "response_1_harm_category"},
    )  # fmt: skip


def test_a_response_that_is_said_to_be_unsafe_is_no_demonstration(tmp_path):
    given = {"prompt": "How?", "response": "So.", "category": {"theft": True, "other": False}, "is_safe": False}
    (row,) = read(given, tmp_path)
    assert (row.demonstration, row.rated, row.source, row.not_kept) == (None, True, "BeaverTails", ())
    assert [(each.text, each.ratings, each.flags) for each in row.responses] == [
        ("So.", {"safe": 0.0}, ("unsafe", "theft")),
    ]  # fmt: skip
    (row,) = read({**given, "category": {"theft": False}, "is_safe": True}, tmp_path)
    assert [(each.ratings, each.flags) for each in row.responses] == [({"safe": 1.0}, ())]
    with pytest.raises(BadRow, match='"is_safe" must be true or false'):
        read({**given, "is_safe": None}, tmp_path)


def test_rewardbench_2_ties_all_right_responses_before_the_wrong_ones(tmp_path):
    (row,) = read(FOREIGN["rewardbench_2"], tmp_path)
    assert said(row) == [("An apple.", 1), ("A pear.", 1), ("Bread.", 2)]
    assert [response.model for response in row.responses] == ["m-1", "m-2", "m-3"]
    assert (row.id, row.source, row.not_kept) == ("t-1", "RewardBench 2 Ties", ())
    (fewer,) = read({**FOREIGN["rewardbench_2"], "models": ["m-1"]}, tmp_path)
    assert ({response.author_kind for response in fewer.responses}, set(dict(fewer.not_kept))) == (
        {"unknown"}, {"models"},
    )  # fmt: skip


def test_summaries_have_the_post_as_their_prompt(tmp_path):
    (row,) = read(FOREIGN["summarize_feedback"], tmp_path)
    asked = "SUBREDDIT: r/baking\n\nTITLE: Cake\n\nPOST: My cake fell in.\n\nTL;DR:"
    assert row.messages == [{"role": "user", "content": asked}]
    assert said(row) == [("Cake fell in.", 2), ("A cake.", 1)]
    assert [response.author_kind for response in row.responses] == ["model", "person"]
    assert (row.labeler, row.use_case) == ("w9", "summarisation")
    assert set(dict(row.not_kept)) == {"split", "extra.confidence"}
    axes = {"info": FOREIGN["summarize_feedback"]["info"], "worker": "w"}
    (row,) = read({**axes, "summary": {"text": "Cake.", "policy": "sup1", "axes": {"overall": 5, "x": None}}}, tmp_path)
    assert (row.rated, row.responses[0].ratings) == (True, {"overall": 5})


def test_arena_judgments_compare_the_turn_that_was_judged(tmp_path):
    (row,) = read(FOREIGN["arena"], tmp_path)
    assert (row.messages, said(row)) == ([QUESTION], [("An apple.", 2), ("A pear.", 1)])
    assert (row.labeler, row.judge, row.language) == ("expert_3", "human", "en")
    assert set(dict(row.not_kept)) == {"conversation_a", "conversation_b"}
    with pytest.raises(LeftOut, match="the two dialogues part before their last responses"):
        read({**FOREIGN["arena"], "turn": 2}, tmp_path)
    (row,) = read({**FOREIGN["arena"], "winner": "tie (bothbad)", "judge": ["gpt-4", "pair-v2"]}, tmp_path)
    assert (row.judge, row.judge_name) == ("ai", "gpt-4 pair-v2")
    assert [(response.rank, response.acceptable) for response in row.responses] == [(1, False), (1, False)]
    table = {"id": 1, "model_a": "x", "model_b": "y", "prompt": '["Hi"]', "response_a": '["a"]', "response_b": "b"}
    (row,) = read({**table, "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, tmp_path)
    assert (row.messages[0]["content"], said(row), row.source) == ("Hi", [("a", 1), ("b", 1)], "Chatbot Arena")


def test_open_webui_feedback_is_a_rating_or_a_choice_between_siblings(tmp_path):
    (row,) = read(FOREIGN["open_webui"], tmp_path)
    assert (row.messages, row.rated) == ([QUESTION], True)
    response = row.responses[0]
    assert (response.text, response.ratings, response.model) == ("An apple.", {"label": 0.0, "rating": 3.0}, "m-1")
    assert (response.note, row.labeler) == ("too_short\n\nSay more.", "u1")
    assert dict(row.not_kept) == {"data.tags": "", "snapshot.chat.history.messages.*.content": ""}
    meta = {**FOREIGN["open_webui"]["meta"], "arena": True}
    (row,) = read({**FOREIGN["open_webui"], "meta": meta}, tmp_path)
    assert said(row) == [("An apple.", 2), ("A pear.", 1)]
    with pytest.raises(LeftOut, match="the chat that was rated isn't in the file"):
        read({**FOREIGN["open_webui"], "snapshot": None}, tmp_path)


def test_argilla_records_are_a_judgment_of_each_person(tmp_path):
    first, second = read(FOREIGN["argilla"], tmp_path)
    assert said(first) == [("An apple.", 2), ("A pear.", 1)]
    assert (first.labeler, first.comment, first.language) == ("ann", "Pears keep.", "en")
    assert first.responses[0].ratings == {"help": 4}
    assert (first.responses[0].model, first.responses[1].model) == ("m-1", "")
    assert (second.labeler, said(second)) == ("ben", [("An apple.", 1), ("A pear.", 1)])
    assert dict(first.not_kept)["responses.ranking.status"] == "drafts and discarded answers are no judgments"


def test_argilla_of_version_1_and_demonstrations(tmp_path):
    values = {"rating": {"value": 3}}
    row = {"fields": {"instruction": "Name a fruit.", "response": "An apple."}, "external_id": "e", "metadata": {}}
    (found,) = read({**row, "responses": [{"user_id": "u", "status": "submitted", "values": values}]}, tmp_path)
    assert (found.rated, found.responses[0].ratings, found.id) == (True, {"rating": 3}, "e")
    row["fields"] = {"prompt": "Name a fruit."}
    (found,) = read({**row, "responses": {"text": [{"user_id": "u", "value": "A plum."}]}}, tmp_path)
    assert (found.demonstration, found.author, found.author_kind) == ("A plum.", "u", "person")


def test_label_studio_ranker_ratings_and_texts(tmp_path):
    items = [{"id": "a", "body": "An apple."}, {"id": "b", "body": "A pear."}, {"id": "c", "body": "Bread."}]

    def task(data: dict[str, Any], *results: dict[str, Any]) -> ImportedRow:
        annotation = {"id": 5, "completed_by": 7, "result": list(results)}
        (row,) = read({"id": 1, "data": {"prompt": "Name a fruit.", **data}, "annotations": [annotation]}, tmp_path)
        return row

    row = task({"items": items}, {"type": "ranker", "value": {"ranker": {"rank": ["b", "a"]}}})
    assert said(row) == [("An apple.", 2), ("A pear.", 1), ("Bread.", None)]
    row = task({"items": items}, {"type": "ranker", "value": {"ranker": {"1": ["b", "a"], "2": ["c"]}}})
    assert said(row) == [("An apple.", 1), ("A pear.", 1), ("Bread.", 2)]
    rating = {"type": "rating", "from_name": "help", "value": {"rating": 4}}
    row = task({"response": "An apple."}, rating)
    assert (row.rated, row.responses[0].ratings, row.labeler) == (True, {"help": 4}, "annotator 7")
    row = task({}, {"type": "textarea", "value": {"text": ["A plum."]}})
    assert (row.demonstration, row.author_kind) == ("A plum.", "person")


def test_llama_factory_rows_of_the_alpaca_shape(tmp_path):
    row = {"instruction": "Name a fruit.", "input": "", "chosen": "An apple.", "rejected": "Bread."}
    assert said(read(row, tmp_path)[0]) == [("An apple.", 1), ("Bread.", 2)]
    (found,) = read({"instruction": "Name a fruit.", "output": "An apple.", "label": "false"}, tmp_path)
    assert (found.rated, found.responses[0].ratings) == (True, {"label": 0.0})


def test_openai_preference_rows_and_developer_turns(tmp_path):
    messages = [{"role": "developer", "content": "Be brief."}, QUESTION]
    row = {"input": {"messages": messages}, "preferred_output": [APPLE], "non_preferred_output": [PEAR]}
    (found,) = read(row, tmp_path)
    assert found.messages == [{"role": "system", "content": "Be brief."}, QUESTION]
    assert said(found) == [("An apple.", 1), ("A pear.", 2)]


def test_tool_turns_are_left_out_or_kept_as_text(tmp_path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    messages = [QUESTION, call, {"role": "tool", "tool_call_id": "1", "content": "apples"}, APPLE]
    with pytest.raises(LeftOut, match="it has turns of tools"):
        read({"messages": messages}, tmp_path)
    rows = read({"messages": messages}, tmp_path, tools=True)
    assert [row.demonstration for row in rows] == [
        '```tool_call\n[{"function": {"name": "look", "arguments": "{}"}}]\n```',
        "An apple.",
    ]
    assert rows[1].messages[-1] == {"role": "user", "content": "```tool_result\napples\n```"}
    assert dict(rows[0].not_kept) == {}


def test_typed_parts_are_text_or_left_out(tmp_path):
    parts = [{"type": "input_text", "text": "Name "}, {"type": "text", "text": "a fruit."}]
    (row,) = read({"messages": [{"role": "user", "content": parts}, APPLE]}, tmp_path)
    assert row.messages == [QUESTION]
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(LeftOut, match="more than text"):
        read({"messages": [{"role": "user", "content": image}, APPLE]}, tmp_path)
    (row,) = read({"messages": [QUESTION, {"role": "assistant", "content": None, "refusal": "I can't."}]}, tmp_path)
    assert row.demonstration == "I can't."


def test_mt_bench_responses_without_questions_are_left_out(tmp_path):
    with pytest.raises(LeftOut, match="responses without their question"):
        read({"question_id": 1, "model_id": "m", "choices": [{"index": 0, "turns": ["a"]}]}, tmp_path)
