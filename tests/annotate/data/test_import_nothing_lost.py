"""What an import keeps, refuses or names: odd values, odd files, and Hone's own exports read again."""

import gzip
import hashlib
import json
import os
import re
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate import formats
from annotate.data import imports, pacing, snapshots
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.formats import files
from annotate.formats.files import byte_streams, columnar, json_objects
from annotate.formats.rows import BadRow, LeftOut
from annotate.models import (
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Prompt,
    Response,
    Task,
    TaskResponse,
)
from annotate.people.projects import create_project
from tests.factories.cast import Cast, make_prompt

PROMPT = [{"role": "user", "content": "Name a fruit."}]
PAIR = {"id": "p", "prompt": PROMPT, "chosen": "An apple.", "rejected": "A stone."}
HUGE = "9" * 400
SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture
def imported(cast: Cast, tmp_path: Path):
    def run(content, name="data.jsonl", project=None):
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_file(project=project or cast.project, path=path, by=None)

    return run


def test_two_models_that_judged_the_same_pair_are_two_judgments(imported):
    report = imported([{**PAIR, "judge": "gpt-4"}, {**PAIR, "judge": "claude"}])
    assert (report.created["judgments"], report.duplicates) == (2, 0)
    assert imported([{**PAIR, "judge": "claude"}]).duplicates == 1


CHAT = [{"from": "human", "value": "Name a fruit."}]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": CHAT, "chosen": "An apple.", "rejected": "A stone."},
        {"messages": [*PROMPT, {"role": "assistant", "content": "An apple."}], "label": True},
        {"prompt": PROMPT, "completion": "An apple.", "score": 4},
        {"prompt": PROMPT, "responses": [{"text": "An apple.", "rank": 1}, {"text": "A stone.", "rank": 2}]},
    ],
    ids=["pair of a chat", "label of a chat", "score", "ranking"],
)
def test_judges_and_labelers_of_the_same_responses_are_a_judgment_each(imported, row):
    """In every format that names who judged."""
    by = [{"judge": "gpt-4"}, {"judge": "claude"}, {"labeler": "ann"}, {"labeler": "ben"}]
    report = imported([{"id": "p", **row, **who} for who in by])
    assert (report.created["judgments"], report.duplicates, report.not_kept) == (4, 0, {})
    assert sorted(revision.content.get("judge", "") for revision in JudgmentRevision.objects.all()) == [
        "", "", "claude", "gpt-4"
    ]  # fmt: skip


def test_ids_and_judges_of_a_file_are_in_its_export(cast, imported):
    imported([{**PAIR, "judge": "gpt-4"}, {**PAIR, "id": "q", "labeler": "ann"}])
    snapshot = snapshots.freeze(project=cast.project, kind="rankings")
    lines = [snapshots.data_file(snapshot, split).read_text() for split in ("train", "validation", "test")]
    rows = sorted(map(json.loads, filter(None, "".join(lines).split("\n"))), key=lambda row: row["source_id"])
    assert [(row["source_id"], row["judge"]) for row in rows] == [("p", "gpt-4"), ("q", "human")]


def test_annotations_that_name_no_annotator_are_a_judgment_each(imported):
    result = [{"type": "pairwise", "value": {"selected": "left"}}]
    data = {"prompt": "Name a fruit.", "answer1": "An apple.", "answer2": "A stone."}
    annotations = [{"result": result}, {"result": result}, {"id": 7, "result": result}]
    report = imported([{"id": 1, "data": data, "annotations": annotations}])
    assert (report.created["tasks"], report.created["judgments"], report.duplicates) == (1, 3, 0)


def test_what_is_said_of_responses_that_nobody_ranked_is_named(imported):
    said = {"score": 0.5, "note": "Vague.", "acceptable": False, "flags": ["rude"], "ratings": {"help": 3}}
    report = imported([{"prompt": PROMPT, "responses": [{"text": "a", **said}, {"text": "b"}]}])
    assert report.created["tasks"] == 1
    assert report.not_kept == {(f"responses.{key}", ""): 1 for key in said}


def test_the_writer_of_a_pair_of_a_chat_is_named_where_nobody_knows_which_it_is(imported):
    report = imported([{"conversations": CHAT, "chosen": "a", "rejected": "b", "model": "m", "generator": "n"}])
    assert report.not_kept == {("model", ""): 1, ("generator", ""): 1}


def test_what_is_asked_last_in_a_chat_is_a_prompt(imported):
    answered = [*CHAT, {"from": "gpt", "value": "An apple."}]
    report = imported([{"conversations": [*answered, {"from": "human", "value": "Another."}]}])
    assert (report.created["prompts"], report.created["demonstrations"]) == (2, 1)
    asked = Prompt.objects.get(opening__isnull=False)
    assert [turn["content"] for turn in asked.messages] == ["Name a fruit.", "An apple.", "Another."]


def test_values_of_another_type_are_read_where_nothing_is_lost(imported):
    responses = [{"text": "a", "rank": "1", "score": "4.5"}, {"text": "b", "rank": 2, "score": "high"}]
    row = {"id": 1, "prompt": PROMPT, "responses": responses, "seconds": "12", "use_case": "Open question"}
    report = imported([{**row, "split": "nowhere", "margin": 1.5}])
    revision = JudgmentRevision.objects.get()
    assert list(revision.content["scores"].values()) == [4.5]
    assert (revision.seconds, Prompt.objects.get().use_case) == (12.0, "open_qa")
    assert report.not_kept == Counter(
        {
            ("responses.score", "not a number"): 1,
            ("split", "not a word that Hone knows for it"): 1,
            ("margin", "not one of the levels 0 to 3"): 1,
        }
    )
    assert "responses.score (1 row): not a number" in report.summary


def test_a_margin_of_three_responses_is_named(imported):
    responses = [{"text": text, "rank": rank} for rank, text in enumerate("abc", start=1)]
    report = imported([{"prompt": PROMPT, "responses": responses, "margin": 2}])
    assert report.created["judgments"] == 1
    assert report.not_kept == {("margin", "only a comparison of two has one"): 1}


@pytest.mark.parametrize("written", ["Open QA", "open_qa", "open-qa", "Open question"])
def test_a_use_case_is_read_however_it_is_written(imported, written):
    assert imported([{"prompt": PROMPT, "use_case": written}]).not_kept == {}
    assert Prompt.objects.get().use_case == "open_qa"


def test_a_side_that_is_another_than_the_prompts_is_named(imported):
    report = imported([{"prompt": PROMPT, "split": side} for side in ("train", "validation", "test")])
    assert report.not_kept == {("split", "the side is decided by the prompt's content"): 2}


def test_pairs_of_plain_texts_are_read(imported):
    report = imported([{"prompt": "Name a fruit.", "chosen": "An apple.", "rejected": "A stone."}])
    assert (report.created["judgments"], report.not_kept) == (1, {})
    revision = JudgmentRevision.objects.get()
    assert [Response.objects.get(pk=tier[0]).text for tier in revision.tiers] == ["An apple.", "A stone."]


def test_a_known_prompt_gets_the_mark_that_it_may_upset(imported):
    imported([{"id": 1, "prompt": PROMPT}])
    report = imported([{"id": 1, "prompt": PROMPT, "sensitive": True}])
    assert Prompt.objects.get().sensitive
    assert "marked as upsetting now: 1." in report.summary


def test_marks_of_known_prompts_stay_whatever_later_rows_and_people_say(imported, monkeypatch):
    """Rows of other batches add an id; somebody marks a prompt by hand while the file comes in."""
    opening, other = PROMPT, [{"role": "user", "content": "Name a stone."}]
    chats = [[*start, {"role": "assistant", "content": "No."}, *PROMPT] for start in (opening, other)]
    imported([{"prompt": chat, "opening": start} for chat, start in zip(chats, (opening, other), strict=True)])
    monkeypatch.setattr(pacing, "FIRST_BATCH", 1)
    add = imports.RowStore.add

    def marked_meanwhile(store, rows):
        add(store, rows)
        Prompt.objects.filter(messages=other).update(sensitive=True)

    monkeypatch.setattr(imports.RowStore, "add", marked_meanwhile)
    imported([{"id": "b", "prompt": other}, {"prompt": opening, "sensitive": True}, {"id": "a", "prompt": opening}])
    found = {prompt.question: prompt for prompt in Prompt.objects.filter(opening=None)}
    assert {question: (prompt.external_id, prompt.sensitive) for question, prompt in found.items()} == {
        "Name a fruit.": ("a", True),
        "Name a stone.": ("b", True),
    }


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "a", "output": "b", "history": True},
        {"instruction": "a", "output": "b", "history": 5},
        {"prompt": PROMPT, "completion": "a", "ratings": [{"name": [], "value": 1}]},
        {"prompt": PROMPT, "completion": "a", "ratings": [{"name": "x", "value": 1}, {"name": "x", "value": 2}]},
    ],
)
def test_a_value_of_a_kind_that_nobody_writes_breaks_its_line(imported, row):
    report = imported([row])
    assert len(report.errors) == 1
    assert report.errors[0].startswith("line 1: ")


@pytest.mark.parametrize("count", [1, 10])
def test_too_few_or_too_many_responses_for_a_task_are_counted_and_said(imported, count):
    report = imported([{"id": 1, "prompt": PROMPT, "responses": [{"text": f"r{n}"} for n in range(count)]}])
    assert (report.created["responses"], report.created["tasks"]) == (count, 0)
    assert "without a task, since one compares 2 to 9: 1." in report.summary


@pytest.mark.parametrize("key", ["weight", "seconds", "margin"])
@pytest.mark.parametrize("number", [HUGE, "1e999"])
def test_a_number_out_of_bounds_breaks_its_line(imported, key, number):
    report = imported(json.dumps(PAIR)[:-1] + f', "{key}": {number}}}')
    assert len(report.errors) == 1
    assert report.errors[0].startswith("line 1: ")
    assert "out of bounds" in report.errors[0]


@pytest.mark.parametrize("key", ["rank", "score", "ratings"])
def test_a_number_out_of_bounds_of_a_response_breaks_its_line(imported, key):
    value = f'{{"overall": {HUGE}}}' if key == "ratings" else HUGE
    rest = '"rank": 1, ' if key != "rank" else ""
    row = f'{{"prompt": {json.dumps(PROMPT)}, "responses": [{{"text": "a", {rest}"{key}": {value}}}, '
    report = imported(row + '{"text": "b", "rank": 2}]}')
    assert len(report.errors) == 1
    assert report.errors[0].startswith("line 1: ")


@pytest.mark.parametrize("row", ['{"prompt": "a", "prompt": "b"}', '{"prompt": "a", "x": [{"y": 1, "y": 2}]}'])
def test_a_key_that_stands_twice_breaks_its_line(imported, row):
    (error,) = imported(row).errors
    assert error.startswith("line 1: the key ")
    assert "twice" in error


def test_a_key_that_no_page_could_show_is_shown_escaped(imported):
    report = imported('{"prompt": "Why?", "\\ud800\\u0007": 1}')
    assert list(report.not_kept) == [("\\ud800\\x07", "")]
    report.summary.encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_other_encodings_of_unicode_are_read(imported, encoding):
    assert imported('{"prompt": "天空\u2028为什么"}\n'.encode(encoding)).created["prompts"] == 1
    assert Prompt.objects.get().messages == [{"role": "user", "content": "天空\u2028为什么"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,prompt,response,score\n1,"Why, and\nhow?",So.,4.5\n'),
        ("a.csv", 'id;prompt;response;score\n1;"Why, and\nhow?";So.;4.5\n'),
        ("a.tsv", 'id\tprompt\tresponse\tscore\n1\t"Why, and\nhow?"\tSo.\t4.5\n'),
    ],
)
def test_tables_are_read_by_their_header(imported, name, content):
    assert imported(content, name=name).created["judgments"] == 1
    assert Prompt.objects.get().messages[0]["content"] == "Why, and\nhow?"
    assert list(JudgmentRevision.objects.get().ratings.values()) == [{"score": 4.5}]


def test_votes_are_a_judgment_each_and_skips_are_counted(imported):
    votes = [
        {"annotator": "a", "choice": "a", "strength": "a-is-slightly-better", "b_acceptable": "no"},
        {"annotator": "b", "choice": "tie", "timestamp": "2023-05-30 05:18:34"},
        {"annotator": "c", "choice": "skip"},
    ]
    report = imported([{"id": "v", "prompt": PROMPT, "response_a": "A", "response_b": "", "votes": votes}])
    assert (report.created["tasks"], report.created["judgments"]) == (1, 2)
    assert report.left_out == {"the voter skipped it": 1}
    first, second = JudgmentRevision.objects.order_by("pk")
    assert [len(tier) for tier in first.tiers] == [1, 1]
    assert (first.margin, list(first.flags.values())) == (1, [["unacceptable"]])
    assert [len(tier) for tier in second.tiers] == [2]
    assert second.content["timestamp"] == "2023-05-30 05:18:34"


def test_votes_that_name_no_voter_are_a_judgment_each(imported):
    row = {"id": "v", "prompt": PROMPT, "response_a": "a", "response_b": "b", "votes": [{"choice": "a"}] * 3}
    report = imported([row])
    assert (report.created["tasks"], report.created["judgments"], report.duplicates) == (1, 3, 0)
    assert imported([row]).duplicates == 3


def test_a_rated_response_is_a_rating_and_no_ideal_response(imported):
    rows = [
        {"prompt": PROMPT, "response": "", "score": 6.5, "scale": "1-10", "critique": "Vague.", "judge": "gpt-4"},
        {"prompt": PROMPT, "response": "B", "label": False, "scale": "binary"},
    ]
    assert imported(rows).created["judgments"] == 2
    assert not Demonstration.objects.exists()
    assert set(Task.objects.values_list("kind", flat=True)) == {"rate"}
    first, second = JudgmentRevision.objects.order_by("pk")
    assert (list(first.ratings.values()), first.content["scale"], first.source) == ([{"score": 6.5}], "1-10", "ai")
    assert list(first.notes.values()) == ["Vague."]
    assert list(second.ratings.values()) == [{"label": 0.0}]


def test_nobody_is_claimed_to_have_written_what_no_file_says(imported):
    rows = [{"instruction": "你好吗？", "input": "", "output": "很好。"}]
    imported(json.dumps(rows), name="alpaca.json")
    assert Author.objects.get(name="imported: Alpaca").kind == "unknown"
    assert Prompt.objects.get().language == "zh"


def test_a_file_that_unfolds_to_empty_lists_takes_little_memory(imported, monkeypatch):
    monkeypatch.setattr(byte_streams, "FREE_OF_FOLDING", 2**40)
    content = gzip.compress(b"[" + b"[]," * 2_000_000 + b"[]]")
    tracemalloc.start()
    report = imported(content, name="bomb.json.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.read, report.stopped) == (1_000, True)
    assert peak < 40 * 2**20


def test_a_row_of_very_many_values_is_refused_before_it_is_read(imported):
    (error,) = imported('{"prompt": "Why?", "x": [' + "[]," * 300_000 + "[]]}").errors
    assert error == "line 1: more than 200,000 values in a row"


LISTS_OF_NULLS = {
    "list": (pa.list_(pa.null()), lambda count: [None] * count),
    "struct": (pa.struct({"a": pa.list_(pa.null())}), lambda count: {"a": [None] * count}),
    "map": (pa.map_(pa.string(), pa.null()), lambda count: [("a", None)] * count),
}


@pytest.mark.parametrize("kind", LISTS_OF_NULLS)
def test_lists_of_nulls_of_a_parquet_file_are_counted_before_they_are_read(imported, tmp_path, kind):
    """They take next to no bytes in the file, nor in Arrow's memory."""
    arrow_type, value = LISTS_OF_NULLS[kind]
    texts = [f"Name fruit {number}." for number in range(3)]
    column = pa.array([value(2), value(json_objects.MOST_VALUES + 1), value(2)], arrow_type)
    pq.write_table(pa.table({"prompt": texts, "x": column}), tmp_path / "nulls.parquet")
    assert (tmp_path / "nulls.parquet").stat().st_size < 20_000
    report = imported((tmp_path / "nulls.parquet").read_bytes(), "nulls.parquet")
    assert report.errors == ("row 2: more than 200,000 values in a row",)


def test_a_parquet_file_of_too_much_is_refused_by_its_metadata(imported, tmp_path, monkeypatch):
    pq.write_table(pa.table({"prompt": ["a"], "x": pa.array([[None] * 2_000])}), tmp_path / "data.parquet")
    content = (tmp_path / "data.parquet").read_bytes()
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    for name, limit in (("MOST_VALUES_OF_COLUMN", 1_999), ("MOST_OF_COLUMN", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(columnar, name, limit)
            with pytest.raises(Refused, match="too much of a column in one row group"):
                imported(content, "data.parquet")


def test_fewer_rows_at_a_time_are_read_of_a_column_of_large_values(tmp_path, monkeypatch):
    """A dictionary's one value stands in every row: sixteen of them are sixteen times its size."""
    monkeypatch.setattr(byte_streams, "LONGEST_LINE", 1_000)
    pq.write_table(pa.table({"prompt": ["x" * 4_500] * 9}), tmp_path / "data.parquet")
    sizes, iter_batches = [], pq.ParquetFile.iter_batches

    def counted(file, batch_size, **named):
        sizes.append(batch_size)
        return iter_batches(file, batch_size=batch_size, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    rows = [row for _place, row in files.objects(tmp_path / "data.parquet")]
    assert [str(row) for row in rows] == ["the row is larger than 0 MB"] * 9
    assert sizes == [3]


def test_a_parquet_file_with_a_date_beyond_any_calendar_is_refused(imported, tmp_path):
    column = pa.array([2**31 - 1], pa.date32())
    pq.write_table(pa.table({"prompt": ["a"], "at": column}), tmp_path / "data.parquet")
    with pytest.raises(Refused, match="broken Parquet file"):
        imported((tmp_path / "data.parquet").read_bytes(), "data.parquet")


def test_a_parquet_file_with_a_column_twice_is_refused(imported, tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "data.parquet")
    with pytest.raises(Refused, match="two columns of one name"):
        imported((tmp_path / "data.parquet").read_bytes(), "data.parquet")


def test_an_array_is_read_item_by_item_across_blocks(imported, monkeypatch):
    monkeypatch.setattr(byte_streams, "BLOCK", 7)
    rows = [{"prompt": f'Question {n}: ", [{{ \\ "'} for n in range(20)]
    assert imported(json.dumps(rows, indent=1), name="a.json").created["prompts"] == 20


def test_a_string_that_goes_on_over_blocks_is_one_item(imported, monkeypatch):
    monkeypatch.setattr(byte_streams, "BLOCK", 5)
    texts = ['"' * 40, "\\" * 41, ',"],[{' * 9]
    assert imported(json.dumps([{"prompt": text} for text in texts]), name="a.json").created["prompts"] == 3
    assert sorted(prompt.question for prompt in Prompt.objects.all()) == sorted(texts)


def _records(project) -> list[dict]:
    """Every row that a project exports of any kind, without the ids of its database."""
    found = []
    for kind, has_rows in (
        ("prompts", True),
        ("demonstrations", Demonstration.objects.filter(prompt__project=project).exists()),
        ("rankings", Judgment.objects.filter(project=project, task__kind="compare").exists()),
        ("ratings", Judgment.objects.filter(project=project, task__kind="rate").exists()),
    ):
        if not has_rows:
            continue
        snapshot = snapshots.freeze(project=project, kind=kind, filters={"comments": True})
        for split in ("train", "validation", "test"):
            text = snapshots.data_file(snapshot, split).read_text()
            for row in filter(None, text.split("\n")):
                record = {key: value for key, value in json.loads(row).items() if key not in IDS}
                found.append({"of": kind, **record})
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


IDS = ("id", "source_id", "prompt_id", "task")


@pytest.fixture
def full_project(cast: Cast, imported):
    """Something of every kind: chats, ratings, rankings with all that a judgment says, people's and models' texts."""
    responses = [
        {"text": "a", "rank": 1, "model": "m", "flags": ["rude"], "finish_reason": "eos", "ratings": {"overall": 6}},
        {"text": "b", "rank": 2, "model": "n", "acceptable": False, "score": 0.25, "note": "No."},
    ]
    few_shot = [{"role": "system", "content": "Translate."}, *PROMPT, {"role": "assistant", "content": "Une pomme."}]
    imported(
        [
            {"prompt": "Draw.", "kind": "user_based", "use_case": "extraction", "sensitive": True, "lang": "fr"},
            {"prompt": [*few_shot, {"role": "user", "content": "Go."}], "kind": "few_shot", "lang": "en"},
            {"prompt": "Rank.", "responses": responses, "labeler": "labeler-0123456789", "margin": 2, "seconds": 3.5}
            | {"comment": "Hm.", "rubric": 2, "revision": 3, "weight": 0.5, "timestamp": "2026-01-02T03:04:05+00:00"},
            {"prompt": "Rank.", "responses": responses, "judge": "gpt-4", "labeler": "labeler-aaaaaaaaaa"},
            {"prompt": "Rate.", "response": "c", "ratings": {"help": 3}, "model": "m", "labeler": "labeler-0123456789"},
        ]
    )
    opening = make_prompt(cast.project, "Begin a chat.")
    for number in range(12):
        turns = [*opening.messages, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": f"{number}"}]
        prompt = Prompt.objects.create(project=cast.project, messages=turns, opening=opening, language="en")
        author = Author.of(cast.labeler)
        response = Response.objects.create(
            prompt=prompt, text=f"Answer {number}", author=author, finish_reason="written"
        )
        Demonstration.objects.create(prompt=prompt, response=response)
    return cast.project


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_own_exports_come_back_as_the_same_records(cast, full_project, tmp_path, suffix):
    fresh = create_project(by=cast.admin, name="Fresh")
    for kind in ("prompts", "demonstrations", "rankings", "ratings"):
        out = tmp_path / f"{kind}{suffix}"
        format = "parquet" if suffix == ".parquet" else "hone"
        call_command("export_data", "kindness", "--format", format, "--kind", kind, "--comments", "--out", str(out))
        report = import_file(project=fresh, path=out, by=None)
        assert report.errors == ()
        assert {key for key, _reason in report.not_kept} <= {"id"}
    assert _records(fresh) == _records(full_project)
    assert not Demonstration.objects.filter(prompt__project=fresh).exclude(response__author__kind="person").exists()
    opening = Prompt.objects.get(project=fresh, messages=[{"role": "user", "content": "Begin a chat."}])
    assert {prompt.split for prompt in opening.continuations.all()} == {opening.split}
    assert opening.continuations.count() == 12


def test_trl_exports_are_read_again(cast, full_project, tmp_path):
    fresh = create_project(by=cast.admin, name="Fresh")
    made = Counter()
    for kind in ("prompts", "demonstrations", "rankings", "ratings"):
        out = tmp_path / f"{kind}.jsonl"
        call_command("export_data", "kindness", "--format", "trl", "--kind", kind, "--out", str(out))
        made.update(import_file(project=fresh, path=out, by=None).created)
    assert (made["demonstrations"], made["judgments"]) == (12, 3)
    sides = dict(Prompt.objects.filter(project=full_project).values_list("content_hash", "split"))
    assert dict(Prompt.objects.filter(project=fresh).values_list("content_hash", "split")) == sides


def test_the_printed_hash_is_that_of_the_one_file(cast, full_project, tmp_path, capsys):
    out = tmp_path / "all.jsonl"
    call_command("export_data", "kindness", "--format", "hone", "--out", str(out))
    assert capsys.readouterr().out.strip().endswith(hashlib.sha256(out.read_bytes()).hexdigest())
    assert all("split" in json.loads(line) for line in out.read_text().split("\n") if line)


def test_the_card_of_pairs_counts_what_pairs_cannot_say(cast, imported):
    responses = [{"text": text, "rank": rank} for text, rank in (("a", 1), ("b", 2), ("c", 2), ("d", None))]
    imported([{"id": 1, "prompt": PROMPT, "responses": responses}])
    snapshot = snapshots.freeze(project=cast.project, kind="rankings", format="trl")
    card = (snapshots.folder_of(snapshot) / "README.md").read_text()
    assert "1 pairs of tied responses and 1 responses that were not ranked were left out" in card


@pytest.mark.parametrize("format", ["hone", "trl", "parquet"])
def test_every_export_loads_with_datasets(cast, full_project, tmp_path, format, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    for kind in ("prompts", "demonstrations", "rankings", "ratings"):
        out = tmp_path / f"{kind}.{'parquet' if format == 'parquet' else 'jsonl'}"
        call_command("export_data", "kindness", "--format", format, "--kind", kind, "--out", str(out))
        builder = "parquet" if format == "parquet" else "json"
        loaded = datasets.load_dataset(builder, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
        rows = {"prompts": 17, "demonstrations": 12, "rankings": 2, "ratings": 1}[kind]
        assert len(loaded) == rows
        assert loaded[0]["prompt"][-1]["role"] == "user"


def test_a_batch_reads_each_table_by_itself(imported, monkeypatch):
    """PostgreSQL joins row by row what it takes for empty: an import after a rollback took the square of its rows."""
    responses = [{"text": text, "rank": rank} for rank, text in enumerate("ab", start=1)]
    chat = [*PROMPT, {"role": "assistant", "content": "An apple."}, {"role": "user", "content": "Another."}]
    rows = [
        {"prompt": chat, "opening": PROMPT},
        {"prompt": PROMPT, "completion": "A pear."},
        {"prompt": PROMPT, "responses": [{"text": "a"}, {"text": "b"}]},
        {"prompt": PROMPT, "responses": responses, "labeler": "ann"},
        {"prompt": PROMPT, "response": "c", "ratings": {"help": 3}},
    ]
    imported(rows)
    add, queries = imports.RowStore.add, []

    def captured(store, batch):
        with CaptureQueriesContext(connection) as found:
            add(store, batch)
        queries.extend(query["sql"] for query in found)

    monkeypatch.setattr(imports.RowStore, "add", captured)
    assert imported(rows).duplicates == 5
    growing = (Prompt, Response, Task, TaskResponse, Demonstration, Judgment, JudgmentRevision)
    names = "|".join(model._meta.db_table for model in growing)
    read = [re.findall(rf'(?:FROM|JOIN) "({names})"', sql) for sql in queries if sql.startswith("SELECT")]
    assert {table for tables in read for table in tables} >= {"annotate_taskresponse", "annotate_demonstration"}
    assert [tables for tables in read if len(tables) > 1] == []


REAL = {
    "annotations.jsonl": "hone ranked",
    "ratings.jsonl": "hone rated",
    "rankings.jsonl": "hone ranked",
    "demonstrations_multiturn.jsonl": "hone demonstration",
    "original/alpaca_en_demo.json": "alpaca demonstration",
    "original/alpaca_eval_annotations.json": "alpaca_eval ranked",
    "original/alpaca_eval_model_outputs.json": "alpaca demonstration",
    "original/alpaca_zh_demo.json": "alpaca demonstration",
    "original/fastchat_sharegpt.json": "conversations demonstration",
    "original/hh_harmless_base.jsonl": "hh ranked",
    "original/hh_harmless_base.jsonl.gz": "hh ranked",
    "original/instructgpt_truthful_qa_samples.csv": "instructgpt rated",
    "original/labelstudio_export.json": "label_studio ranked",
    "original/labelstudio_import_tasks.json": "label_studio responses",
    "original/llamafactory_dpo_en_demo.json": "conversations ranked",
    "original/llamafactory_dpo_zh_demo.json": "conversations ranked",
    "original/llamafactory_kto_en_demo.json": "conversations rated",
    "original/llamafactory_v1_sft_demo.jsonl": "conversations demonstration",
    "original/medicalgpt_dpo_zh.jsonl": "conversations ranked",
    "original/mt_bench_question.jsonl": "mt_bench prompt",
    "original/oasst_trees.jsonl": "oasst ranked",
    "original/open_instruct_human_eval.csv": "open_instruct ranked",
    "original/pandalm_testset.json": "pandalm ranked",
    "original/sharegpt_zh.jsonl": "conversations demonstration",
    "original/stack_exchange_paired.json": "stack_exchange ranked",
}


def _what(row) -> str:
    said = [("ranked", row.ranked), ("rated", row.rated), ("demonstration", row.demonstration is not None)]
    return next((name for name, is_it in said if is_it), "responses" if row.responses else "prompt")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data isn't there")
@pytest.mark.parametrize("name", REAL)
def test_every_real_file_is_read_as_what_it_holds(name):
    found = formats.detect(SHARED / name)
    rows = list(islice(formats.rows_of(SHARED / name, found), 30))
    assert [str(row) for _place, row in rows if isinstance(row, BadRow)] == []
    read = [item for _place, row in rows if isinstance(row, list) for item in row if not isinstance(item, LeftOut)]
    assert {f"{found} {_what(row)}" for row in read} == {REAL[name]}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data isn't there")
def test_real_files_are_read_whole(cast, tmp_path):
    report = import_file(project=cast.project, path=SHARED / "annotations.jsonl", by=None)
    votes = sum(len(json.loads(line)["votes"]) for line in (SHARED / "annotations.jsonl").open(encoding="utf-8"))
    assert report.created["judgments"] == votes
