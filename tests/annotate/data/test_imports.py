import gzip
import json

import pytest

from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.errors import NotYours, Refused
from annotate.formats import detect
from annotate.labeling import queue
from annotate.models import (
    AuditEvent,
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Prompt,
    Response,
    Task,
    User,
)
from tests.factories.cast import judge


def user_turn(text):
    return [{"role": "user", "content": text}]


def write(tmp_path, content, name="data.jsonl"):
    """Rows as JSON lines, or text as it is."""
    path = tmp_path / name
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def imported(cast, tmp_path):
    """Import rows or text into the cast's project as its manager."""

    def run(content, name="data.jsonl", **options):
        return import_file(project=cast.project, path=write(tmp_path, content, name), by=cast.manager, **options)

    return run


RANKING = {
    "id": "r1",
    "prompt": user_turn("Name a fruit."),
    "responses": [
        {"text": "A carrot.", "rank": 2, "model": "model-b"},
        {"text": "An apple.", "rank": 1, "model": "model-a", "ratings": {"overall": 6}},
        {"text": "A pear.", "rank": 1, "model": "model-a"},
        {"text": "Stone.", "rank": None, "model": "model-c", "acceptable": False},
    ],
    "labeler": "anna",
    "lang": "en",
    "seconds": 31.5,
}
PAIR = {"id": "p1", "prompt": user_turn("Say hello."), "chosen": "Hello!", "rejected": "No.", "judge": "gpt-4"}


def test_prompts_that_may_upset_say_so(cast, imported):
    imported([{"prompt": user_turn("A"), "sensitive": True}, {"prompt": user_turn("B"), "sensitive": None}])
    assert [prompt.sensitive for prompt in Prompt.objects.filter(project=cast.project)] == [True, False]
    report = imported([{"prompt": user_turn("C"), "sensitive": "perhaps"}])
    assert "must be true, false or null" in report.errors[0]


def test_prompts_come_in_once(cast, imported):
    rows = [
        {"id": "7", "prompt": user_turn("你好？"), "lang": "zh", "source": "by hand", "use_case": "chat"},
        {"id": "8", "prompt": [{"role": "system", "content": "Be kind."}, *user_turn("Hi")]},
        {"id": "9", "prompt": user_turn("你好？")},
    ]
    report = imported(rows)
    assert (report.format, report.read, report.created["prompts"], report.duplicates) == ("hone", 3, 2, 1)
    first, second = Prompt.objects.filter(project=cast.project)
    assert (first.messages, first.language, first.source, first.external_id, first.use_case) == (
        user_turn("你好？"),
        "zh",
        "by hand",
        "7",
        "chat",
    )
    assert (second.language, second.source) == ("en", "data.jsonl")
    again = imported(rows)
    assert (again.created["prompts"], again.duplicates) == (0, 3)
    assert Prompt.objects.count() == 2
    event = AuditEvent.objects.filter(verb="data.imported").last()
    assert event.actor == cast.manager
    assert event.detail["created"]["prompts"] == 2


def test_demonstrations_keep_their_author(imported):
    rows = [
        {"id": 1, "prompt": user_turn("Count."), "response": "One, two.", "origin": "human"},
        {"id": 2, "prompt": user_turn("Count."), "response": "1, 2.", "origin": "gpt-4"},
    ]
    assert imported(rows).created == {"prompts": 1, "demonstrations": 2, "responses": 0, "tasks": 0, "judgments": 0}
    person, model = [demonstration.response for demonstration in Demonstration.objects.all()]
    assert (person.author.kind, person.finish_reason, person.text) == (Author.Kind.PERSON, "written", "One, two.")
    assert (model.author.kind, model.author.name) == (Author.Kind.MODEL, "gpt-4")
    assert imported(rows).duplicates == 2


def test_a_ranking_becomes_a_complete_task_with_its_judgment(cast, imported):
    assert imported([RANKING]).created == {
        "prompts": 1,
        "demonstrations": 0,
        "responses": 0,
        "tasks": 1,
        "judgments": 1,
    }
    task = Task.objects.get()
    assert (task.state, task.judgments_given, task.slots_free) == (Task.State.COMPLETE, 1, 0)
    carrot, apple, pear, stone = task.responses.order_by("task_responses__number")
    revision = JudgmentRevision.objects.get()
    assert revision.tiers == [[apple.pk, pear.pk], [carrot.pk]]
    assert revision.ratings == {str(apple.pk): {"overall": 6}}
    assert revision.flags == {str(stone.pk): ["unacceptable"]}
    assert (revision.source, revision.seconds, revision.all_unacceptable) == ("human", 31.5, False)
    assert [response.author.name for response in (carrot, apple)] == ["model-b", "model-a"]
    labeler = User.objects.get(username="imported:kindness:anna")
    assert not labeler.is_active
    assert not labeler.has_usable_password()
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    assert imported([RANKING]).duplicates == 1
    assert (Judgment.objects.count(), Response.objects.count()) == (1, 4)


def test_a_pair_is_a_ranking_of_two_and_its_judge_may_be_a_machine(imported):
    imported([{**PAIR, "models": ["one", "two"], "margin": 3}])
    revision = JudgmentRevision.objects.get()
    assert [Response.objects.get(pk=tier[0]).text for tier in revision.tiers] == ["Hello!", "No."]
    assert (revision.source, revision.margin) == ("ai", 3)
    assert User.objects.filter(username="imported:kindness:gpt-4").exists()


def test_what_a_judgment_counts_and_its_judges_numbers_come_out_as_they_went_in(cast, imported):
    responses = [
        {"text": "a", "rank": 1, "score": 0.75},
        {"text": "b", "rank": 2, "score": -3},
        {"text": "c", "rank": 2},
    ]
    imported([{"id": "r", "prompt": user_turn("Q"), "responses": responses, "weight": 0.5}, PAIR])
    snapshot = snapshots.freeze(project=cast.project, kind="rankings")
    files = [snapshots.data_file(snapshot, split) for split in ("train", "validation", "test")]
    rows = {
        row["prompt"][0]["content"]: row for path in files for row in map(json.loads, path.read_text().splitlines())
    }
    assert rows["Q"]["weight"] == 0.5
    assert [item.get("score") for item in rows["Q"]["responses"]] == [0.75, -3.0, None]
    assert "weight" not in rows["Say hello."]
    assert all("score" not in item for item in rows["Say hello."]["responses"])
    for value in (-1, "much", True):
        report = imported([{**PAIR, "weight": value}])
        assert report.errors == ('line 1: "weight" must be a number from 0 on',)


def test_rows_of_one_task_are_judgments_of_one_task(imported):
    other = {**RANKING, "id": "r2", "labeler": "ben", "responses": RANKING["responses"][::-1]}
    imported([{**RANKING, "task": "t"}, {**other, "task": "t"}, {**other, "id": "r3", "task": "t"}])
    both, bens_second = Task.objects.order_by("pk")
    assert (both.judgments_given, both.judgments_wanted, bens_second.judgments_given) == (2, 2, 1)
    first, second = (judgment.latest for judgment in both.judgments.all())
    assert [set(tier) for tier in first.tiers] == [set(tier) for tier in second.tiers]


def test_none_acceptable_is_all_unacceptable(imported):
    responses = [{"text": text, "rank": None, "acceptable": False} for text in ("Bad.", "Worse.")]
    imported([{**RANKING, "responses": responses}])
    revision = JudgmentRevision.objects.get()
    assert (revision.all_unacceptable, revision.tiers, revision.flags) == (True, [], {})


def test_sampled_responses_become_a_task_to_rank(cast, imported):
    row = {
        "id": "s",
        "prompt": user_turn("Why?"),
        "responses": [
            {"text": "Because.", "finish_reason": "eos", "logprob": -3.2},
            {"text": "Why not", "finish_reason": "length"},
        ],
    }
    assert imported([row]).created["tasks"] == 1
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert sorted(Response.objects.values_list("text", "finish_reason")) == [("Because.", "eos"), ("Why not", "length")]
    judge(assignment, [[pk] for pk in assignment.presentation])
    assert imported([row]).duplicates == 1
    assert Task.objects.count() == 1


def hh(dialogue, chosen, rejected):
    return {"chosen": f"{dialogue}\n\nAssistant: {chosen}", "rejected": f"{dialogue}\n\nAssistant: {rejected}"}


def test_hh_dialogues_part_at_the_last_response(imported):
    dialogue = "\n\nHuman: Hi\n\nAssistant: Hello: you\n\nHuman: Tell me\nmore"
    rows = [
        hh(dialogue, "Gladly.", ""),
        hh("\n\nHuman: Same", "Yes.", "Yes."),
        {"chosen": "\n\nHuman: A\n\nAssistant: b", "rejected": "\n\nHuman: C\n\nAssistant: b"},
    ]
    report = imported(rows)
    assert (report.format, report.created["judgments"]) == ("hh", 1)
    assert report.left_out == {
        "the two dialogues are the same": 1,
        "the two dialogues part before their last responses": 1,
    }
    prompt = Prompt.objects.get()
    assert [(turn["role"], turn["content"]) for turn in prompt.messages] == [
        ("user", "Hi"),
        ("assistant", "Hello: you"),
        ("user", "Tell me\nmore"),
    ]
    assert [Response.objects.get(pk=tier[0]).text for tier in JudgmentRevision.objects.get().tiers] == ["Gladly.", ""]


def test_alpaca_is_an_array_of_demonstrations(imported):
    rows = [
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"instruction": "Greet.", "input": "", "output": "Hi", "history": [["Who?", "Me."]], "system": "Be brief."},
    ]
    report = imported(json.dumps(rows, indent=1), name="alpaca.json")
    assert (report.format, report.created["demonstrations"]) == ("alpaca", 2)
    first, second = Prompt.objects.all()
    assert first.messages == user_turn("Add.\n\n1 and 2")
    assert [turn["role"] for turn in second.messages] == ["system", "user", "assistant", "user"]


def test_plain_text_is_a_prompt_a_line(imported):
    report = imported("\ufeffWhat is love?\r\n\r\n  天空为什么是蓝的？  \n", name="prompts.txt")
    assert (report.format, report.read) == ("text", 2)
    assert list(Prompt.objects.values_list("messages", flat=True)) == [
        user_turn("What is love?"),
        user_turn("天空为什么是蓝的？"),
    ]


def test_two_turns_of_one_speaker_are_joined(imported):
    turns = [*user_turn("a"), {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}]
    imported([{"id": 1, "prompt": [*turns, *user_turn("d")]}])
    assert [turn["content"] for turn in Prompt.objects.get().messages] == ["a", "b\n\nc", "d"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", "line 2: not valid JSON (expecting property name enclosed in double quotes at column 2)"),
        ("[1, 2]", "line 2: a row must be a JSON object"),
        ('{"id": 1, "x": NaN, "prompt": []}', "line 2: NaN is not a JSON number"),
        ('{"id": 1}', 'line 2: "prompt" is missing'),
        ('{"prompt": 5}', 'line 2: "prompt" must be a list of turns'),
        ('{"prompt": [{"role": "user"}]}', "line 2: content of turn 1 is missing"),
        ('{"prompt": [{"role": "user", "content": "a\\u0000"}]}', "line 2: content of turn 1 contains a NUL character"),
        ('{"prompt": [{"role": "user", "content": "\\ud800"}]}', "half of a surrogate pair"),
        ('{"prompt": [{"role": "user", "content": " "}]}', "line 2: the last turn of the prompt is empty"),
        ('{"prompt": [{"role": "boss", "content": "x"}]}', "line 2: turn 1 of the prompt has the unknown role 'boss'"),
        (
            '{"prompt": [{"role": "assistant", "content": "x"}]}',
            "line 2: the last turn of the prompt must be the user's",
        ),
        (json.dumps({**PAIR, "rejected": 5}), 'line 2: "rejected" must be text'),
        (json.dumps({**PAIR, "rejected": None}), 'line 2: "rejected" is missing'),
        (json.dumps({**RANKING, "responses": []}), 'line 2: "responses" must be a list of responses'),
        (
            json.dumps({**RANKING, "responses": [{"text": "a", "rank": 1}]}),
            "line 2: a ranking needs at least two responses",
        ),
        (
            json.dumps({**RANKING, "responses": [{"text": "a", "rank": 1}, {"text": "b"}]}),
            "line 2: response 2 has no rank",
        ),
        (
            json.dumps({**RANKING, "responses": [{"text": "a", "rank": 0}, {"text": "b", "rank": 1}]}),
            "line 2: the rank of response 1 must be a whole number from 1 on, or null",
        ),
        ('{"prompt": ' + "[" * 100_000, "line 2: not valid JSON"),
    ],
)
def test_one_broken_row_stops_the_import_and_is_named(imported, row, reason):
    report = imported(json.dumps({"id": 1, "prompt": user_turn("Fine")}) + "\n" + row + "\n")
    assert len(report.errors) == 1
    assert reason in report.errors[0]
    assert report.summary == "Nothing was imported: 1 of 2 rows is broken."
    assert not Prompt.objects.exists()


def test_text_that_is_not_utf8_is_named_by_line_and_byte(imported):
    report = imported(b'{"prompt": []}\n\xff\xfe\n')
    assert report.errors[1] == "line 2: not UTF-8 text (byte 1 of the line)"


def test_only_the_first_twenty_errors_are_listed(imported):
    report = imported("{\n" * 50)
    assert (len(report.errors), report.more_errors) == (20, 30)
    assert report.errors[19].startswith("line 20:")


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        ("", "data.jsonl", "data.jsonl is empty"),
        (" \n\n", "data.txt", "data.txt is empty"),
        ("[]", "data.json", "data.json holds no rows"),
        ('[{"instruction": "a", "output": "b"},\n{"instruction": "c"', "data.json", "line 2: not valid JSON"),
        ('{"question": 1, "answer": 2}', "data.jsonl", 'has the keys "question", "answer"'),
        ("id,prompt\n1,Hello", "data.xyz", "neither JSON nor"),
        (b"\x1f\x8b\x08\x00broken", "data.jsonl.gz", "broken gzip"),
    ],
)
def test_a_file_that_is_no_data_is_refused_with_the_reason(imported, content, name, reason):
    with pytest.raises(Refused) as refusal:
        imported(content, name=name)
    assert reason in str(refusal.value)
    assert refusal.value.status == 400


def test_a_missing_file_and_an_unknown_format_are_refused(cast, tmp_path):
    with pytest.raises(Refused, match=r"There is no file nowhere\.jsonl"):
        import_file(project=cast.project, path=tmp_path / "nowhere.jsonl", by=cast.manager)
    with pytest.raises(Refused, match=r"auto, .*hone, conversations, alpaca, text"):
        import_file(project=cast.project, path=tmp_path, by=cast.manager, format="csv")


def test_an_uploads_own_name_is_told_and_not_its_temporary_one(cast, tmp_path):
    path = write(tmp_path, "", name="tmpx1y2.upload")
    with pytest.raises(Refused, match=r"my prompts\.jsonl is empty"):
        import_file(project=cast.project, path=path, by=cast.manager, name="my prompts.jsonl")


def test_gzipped_files_are_read(imported):
    packed = gzip.compress(json.dumps({"id": 1, "prompt": user_turn("Hi")}).encode())
    assert imported(packed, name="data.jsonl.gz").created["prompts"] == 1


def test_language_and_limit_leave_rows_out_and_say_how_many(imported):
    rows = [{"id": n, "prompt": user_turn(f"Q{n}"), "lang": "zh" if n % 2 else "en-GB"} for n in range(6)]
    report = imported([*rows, {"id": 9, "prompt": user_turn("Q9")}], language="en", limit=2)
    assert report.created["prompts"] == 2
    assert report.left_out == {"not in the language en": 3, "beyond the first 2": 2}
    assert (
        report.summary == "7 rows read: 2 prompts. 3 left out: not in the language en. 2 left out: beyond the first 2."
    )


def test_keys_that_have_no_place_are_told(imported):
    report = imported([{"id": 1, "prompt": user_turn("Q"), "votes": [1], "stars": 2}])
    assert report.not_kept == {("votes", ""): 1, ("stars", ""): 1}
    assert report.summary.endswith(" Not kept: votes (1 row); stars (1 row).")


@pytest.mark.parametrize("who", ["outsider", "labeler", "reviewer", "researcher"])
def test_only_managers_import(cast, tmp_path, who):
    with pytest.raises(NotYours):
        import_file(project=cast.project, path=write(tmp_path, [RANKING]), by=getattr(cast, who))


def test_many_batches_are_one_import(imported):
    rows = [{"id": n, "prompt": user_turn(f"Q{n % 700}")} for n in range(1_200)]
    report = imported(rows)
    assert (report.created["prompts"], report.duplicates) == (700, 500)


def test_a_brace_in_plain_text_is_still_text(tmp_path):
    assert detect(write(tmp_path, "{name}, who are you?", name="a.txt")) == "text"
