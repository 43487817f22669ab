import errno
import hashlib
import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.utils import timezone

from annotate import signals
from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.models import AuditEvent, Author, Demonstration, Judgment, Prompt, Response, Snapshot, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses, response_ids

TEXTS = ("Good.", "Fine.", "Poor.")


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path
    return tmp_path


def give_judgments(cast: Cast, number: int = 30) -> None:
    """Comparisons on as many prompts, each judged: Good, then Fine and Poor tied."""
    for index in range(number):
        task = make_comparison(cast.project, f"Question {index}", TEXTS)
        good, fine, poor = response_ids(task)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        judge(assignment, [[good], [fine, poor]], seconds=4.5, comment="I am Anna")


def read(snapshot: Snapshot, split: str) -> list[dict]:
    path = snapshots.data_file(snapshot, split)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def freeze(cast: Cast, **options) -> Snapshot:
    return snapshots.freeze(**{"project": cast.project, "kind": "rankings", "by": cast.manager, **options})


def test_rankings_are_frozen_as_the_contract_has_them(cast):
    give_judgments(cast)
    snapshot = freeze(cast)
    assert (snapshot.state, snapshot.rows, snapshot.progress) == ("ready", 30, 1.0)
    rows = {split: read(snapshot, split) for split in ("train", "validation", "test")}
    assert sum(len(some) for some in rows.values()) == 30
    for split, some in rows.items():
        assert snapshot.files[f"rankings.{split}.jsonl"]["rows"] == len(some)
        for row in some:
            assert Prompt.objects.get(pk=row["prompt_id"].removeprefix("prompt-")).split == split
    judgment = Judgment.objects.filter(task__prompt__split="train").first()
    row = next(row for row in rows["train"] if row["id"] == f"judgment-{judgment.pk}")
    assert row == {
        "id": f"judgment-{judgment.pk}",
        "prompt": judgment.task.prompt.messages,
        "responses": [
            {"text": "Good.", "rank": 1, "model": "a-model", "acceptable": True, "finish_reason": "eos"},
            {"text": "Fine.", "rank": 2, "model": "a-model", "acceptable": True, "finish_reason": "eos"},
            {"text": "Poor.", "rank": 2, "model": "a-model", "acceptable": True, "finish_reason": "eos"},
        ],
        "task": f"task-{judgment.task_id}",
        "labeler": cast.project.pseudonym(cast.labeler.pk),
        "judge": "human",
        "seconds": 4.5,
        "rubric": 1,
        "revision": 1,
        "prompt_id": f"prompt-{judgment.task.prompt_id}",
        "lang": "en",
        "source": "",
        "kind": "plain",
        "use_case": "other",
        "sensitive": False,
        "split": "train",
    }


def test_no_name_and_no_comment_of_a_labeler_gets_out(cast):
    cast.labeler.username = cast.labeler.first_name = "wordy"
    cast.labeler.save()
    give_judgments(cast, 5)
    prompt = make_prompt(cast.project, "Write.")
    written = Response.objects.create(prompt=prompt, text="Mine.", author=Author.of(cast.labeler))
    Demonstration.objects.create(prompt=prompt, response=written)
    for kind in ("rankings", "demonstrations"):
        folder = snapshots.folder_of(freeze(cast, kind=kind))
        for path in folder.iterdir():
            content = path.read_text(encoding="utf-8")
            assert "wordy" not in content
            assert "Anna" not in content


def test_the_latest_revision_counts(cast):
    task = make_comparison(cast.project, texts=TEXTS)
    good, fine, poor = response_ids(task)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    judge(assignment, [[good], [fine], [poor]])
    judge(assignment, [[poor], [fine]])
    (row,) = read(freeze(cast, filters={"splits": [task.prompt.split]}), task.prompt.split)
    assert [response["rank"] for response in row["responses"]] == [None, 2, 1]
    assert row["revision"] == 2


def test_equal_data_gives_equal_bytes(cast):
    give_judgments(cast, 12)
    for format in ("hone", "trl", "parquet"):
        first, second = freeze(cast, format=format), freeze(cast, format=format)
        assert first.sha256 == second.sha256
        assert first.folder != second.folder
        for name, file in first.files.items():
            path = snapshots.folder_of(second) / name
            assert path.read_bytes() == (snapshots.folder_of(first) / name).read_bytes()
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
            assert path.stat().st_size == file["bytes"]


def test_a_snapshot_never_changes_when_the_data_do(cast):
    give_judgments(cast, 5)
    snapshot = freeze(cast)
    before = {path.name: path.read_bytes() for path in snapshots.folder_of(snapshot).iterdir()}
    give_judgments_again = Judgment.objects.first()
    judge(give_judgments_again.assignment, [give_judgments_again.assignment.presentation])
    assert freeze(cast).sha256 != snapshot.sha256
    assert {path.name: path.read_bytes() for path in snapshots.folder_of(snapshot).iterdir()} == before
    assert snapshots.verify(snapshot) == ()


def test_a_changed_or_missing_file_is_noticed(cast):
    give_judgments(cast, 5)
    snapshot = freeze(cast)
    folder = snapshots.folder_of(snapshot)
    (folder / "README.md").unlink()
    (folder / "README.md").write_text("other")
    (folder / "rankings.test.jsonl").unlink()
    assert {str(problem) for problem in snapshots.verify(snapshot)} == {
        "rankings.test.jsonl is missing.",
        "README.md differs from the frozen file.",
    }


def test_ties_are_kept_or_left_out_as_asked(cast):
    give_judgments(cast, 5)
    task = make_comparison(cast.project, "All the same?", TEXTS)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    judge(assignment, [response_ids(task)])
    assert freeze(cast).rows == 6
    dropped = freeze(cast, tie_policy="drop")
    assert dropped.rows == 5
    card = (snapshots.folder_of(dropped) / "README.md").read_text()
    assert "judgments that prefer nothing were left out (1)" in card


def test_trl_gets_a_row_for_each_strict_pair(cast):
    give_judgments(cast, 10)
    snapshot = freeze(cast, format="trl")
    assert snapshot.rows == 20
    first = read(snapshot, "train")[0]
    assert {"prompt", "chosen", "rejected", "id", "labeler", "judge", "split"} <= set(first)
    assert first["chosen"] == [{"role": "assistant", "content": "Good."}]
    assert {row["rejected"][0]["content"] for row in read(snapshot, "train")} == {"Fine.", "Poor."}


def test_parquet_holds_the_same_rows(cast):
    edit_project(
        project=cast.project, by=cast.manager, criteria=[{"name": "overall", "label": "Overall", "min": 1, "max": 7}]
    )
    task = make_comparison(cast.project, texts=TEXTS)
    good, fine, _poor = response_ids(task)
    judge(
        queue.claim_next(labeler=cast.labeler, project=cast.project), [[good], [fine]], ratings={good: {"overall": 7}}
    )
    split = task.prompt.split
    (expected,) = read(freeze(cast), split)
    (row,) = pq.read_table(snapshots.data_file(freeze(cast, format="parquet"), split)).to_pylist()
    assert row["prompt"] == expected["prompt"]
    assert [(item["text"], item["rank"]) for item in row["responses"]] == [("Good.", 1), ("Fine.", 2), ("Poor.", None)]
    assert row["responses"][0]["ratings"] == [{"name": "overall", "value": 7.0}]
    assert (row["labeler"], row["task"], row["margin"]) == (expected["labeler"], expected["task"], None)


def test_prompts_and_demonstrations_are_frozen_too(cast):
    prompt = make_prompt(cast.project, "Write.")
    author = Author.of(cast.labeler)
    for text, withdrawn in (("Kept.", None), ("Gone.", prompt.created_at)):
        response = Response.objects.create(prompt=prompt, text=text, author=author)
        Demonstration.objects.create(prompt=prompt, response=response, withdrawn_at=withdrawn)
    (row,) = read(freeze(cast, kind="demonstrations"), prompt.split)
    assert (row["prompt"], row["response"]) == (prompt.messages, "Kept.")
    assert row["author"] == cast.project.pseudonym(cast.labeler.pk)
    (row,) = read(freeze(cast, kind="prompts"), prompt.split)
    assert (row["id"], row["prompt"], row["split"]) == (f"prompt-{prompt.pk}", prompt.messages, prompt.split)
    (row,) = read(freeze(cast, kind="demonstrations", format="trl"), prompt.split)
    assert row["completion"] == [{"role": "assistant", "content": "Kept."}]


def test_filters_choose_by_time_source_and_split(cast):
    give_judgments(cast, 12)
    moment = Judgment.objects.order_by("pk")[4].created_at.isoformat()
    assert freeze(cast, filters={"after": moment}).rows == 8
    assert freeze(cast, filters={"before": moment}).rows == 4
    train = freeze(cast, filters={"splits": ["train"]})
    assert set(train.files) == {"rankings.train.jsonl", "README.md", "manifest.json"}
    with pytest.raises(Refused, match="nothing to freeze"):
        freeze(cast, filters={"sources": ["ai"]})
    assert Snapshot.objects.first().state == "failed"
    assert Snapshot.objects.first().error == "There are no rankings yet that match, so there is nothing to freeze."


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "secrets"},
        {"format": "xml"},
        {"tie_policy": "toss"},
        {"filters": {"labeler": 3}},
        {"filters": {"after": "yesterday"}},
        {"filters": {"after": "2026-01-01T00:00:00"}},
        {"filters": {"after": 5}},
        {"filters": {"splits": []}},
        {"filters": {"sources": ["robot"]}},
    ],
)
def test_a_wrong_wish_is_refused_before_anything_is_made(cast, options):
    with pytest.raises(Refused) as refusal:
        freeze(cast, **options)
    assert refusal.value.status == 400
    assert not Snapshot.objects.exists()


@pytest.mark.parametrize("who", ["outsider", "labeler", "reviewer"])
def test_only_researchers_and_managers_take_data_away(cast, who):
    with pytest.raises(NotYours):
        snapshots.request(project=cast.project, kind="rankings", by=getattr(cast, who))


def test_a_request_waits_for_a_job_and_is_in_the_audit_log(cast, django_capture_on_commit_callbacks):
    heard = []

    def listener(**told):
        heard.append(told["snapshot_id"])

    signals.snapshot_requested.connect(listener)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            snapshot = snapshots.request(project=cast.project, kind="rankings", by=cast.researcher)
    finally:
        signals.snapshot_requested.disconnect(listener)
    assert (snapshot.state, heard) == ("pending", [snapshot.pk])
    assert AuditEvent.objects.get(verb="snapshot.requested").actor == cast.researcher


def test_building_twice_changes_nothing(cast, data_folder):
    give_judgments(cast, 5)
    snapshot = freeze(cast)
    judgment = Judgment.objects.first()
    judge(judgment.assignment, [judgment.assignment.presentation])
    again = snapshots.build(snapshot.pk)
    assert (again.sha256, again.finished_at) == (snapshot.sha256, snapshot.finished_at)
    assert len(list((data_folder / "snapshots").iterdir())) == 1


def test_what_a_dead_builder_left_is_built_anew(cast, data_folder):
    give_judgments(cast, 5)
    snapshot = freeze(cast)
    Snapshot.objects.filter(pk=snapshot.pk).update(state="building", sha256="", files={}, folder="")
    again = snapshots.build(snapshot.pk)
    assert (again.state, again.sha256, again.folder) == ("ready", snapshot.sha256, snapshot.folder)
    assert snapshots.verify(again) == ()


def test_two_builders_at_once_both_have_the_ready_snapshot(cast, monkeypatch):
    """The second finds the first at work and waits for it, without a file of its own."""
    give_judgments(cast, 5)
    snapshot = snapshots.request(project=cast.project, kind="rankings", by=cast.manager)
    write, seen = snapshots._write, []

    def begun(*arguments):
        assert snapshots.build(snapshot.pk, wait=False).state == "building"
        with monkeypatch.context() as patch:
            patch.setattr(snapshots.time, "sleep", seen.append)
            patch.setattr(snapshots, "REPORT_SECONDS", 0.0)
            with pytest.raises(TimeoutError):
                snapshots.build(snapshot.pk, out_of_patience)
        return write(*arguments)

    def out_of_patience(done):
        seen.append(done)
        if len(seen) > 3:
            raise TimeoutError

    monkeypatch.setattr(snapshots, "_write", begun)
    ours = snapshots.build(snapshot.pk)
    assert seen == [0.0, snapshots.WAIT_SECONDS, 0.0, snapshots.WAIT_SECONDS, 0.0]
    assert snapshots.build(snapshot.pk).sha256 == ours.sha256
    assert ours.state == "ready"


def test_a_builder_that_was_silent_for_too_long_writes_nothing_any_more(cast, monkeypatch):
    """It comes back, finds that another has begun, and takes what that one made."""
    give_judgments(cast, 5)
    snapshot = snapshots.request(project=cast.project, kind="rankings", by=cast.manager)
    put_in_place, others = snapshots._put_in_place, []

    def taken_for_dead(*arguments):
        put_in_place(*arguments)
        if not others:
            assert not snapshots.abandoned(now=timezone.now()).exists()
            Snapshot.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            assert snapshots.abandoned(now=timezone.now()).get() == snapshot
            others.append(None)
            others[0] = snapshots.build(snapshot.pk)

    monkeypatch.setattr(snapshots, "_put_in_place", taken_for_dead)
    ours = snapshots.build(snapshot.pk)
    assert (ours.state, ours.sha256, ours.finished_at) == ("ready", others[0].sha256, others[0].finished_at)


def test_a_builder_that_failed_says_why_even_when_another_has_begun_anew(cast):
    snapshot = snapshots.request(project=cast.project, kind="rankings", by=cast.manager)

    def another_begins(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("UPDATE") and "failed" in params:
            Snapshot.objects.filter(pk=snapshot.pk).update(state="building", error="")
        return result

    with connection.execute_wrapper(another_begins):
        ours = snapshots.build(snapshot.pk)
    reason = "There are no rankings yet that match, so there is nothing to freeze."
    assert (ours.state, ours.error) == ("failed", reason)


def test_a_full_disk_is_a_reason_and_leaves_no_rest(cast, data_folder, monkeypatch):
    give_judgments(cast, 3)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshots, "_sync", full)
    with pytest.raises(Refused, match="The disk is full"):
        freeze(cast)
    assert Snapshot.objects.get().error == "The disk is full. Free some space below the data folder, then start again."
    assert list((data_folder / "snapshots").iterdir()) == []
    monkeypatch.undo()
    assert snapshots.build(Snapshot.objects.get().pk).state == "ready"


def test_a_snapshot_whose_worker_is_told_to_stop_is_built_by_the_next_one(cast, data_folder, monkeypatch):
    give_judgments(cast, 3)

    def stop(path: Path) -> None:
        raise SystemExit

    monkeypatch.setattr(snapshots, "_sync", stop)
    with pytest.raises(SystemExit):
        freeze(cast)
    left = Snapshot.objects.get()
    assert (left.state, left.error, left.builder, left.lease_until) == ("pending", "", None, None)
    assert list((data_folder / "snapshots").iterdir()) == []
    monkeypatch.undo()
    assert snapshots.abandoned(now=timezone.now() + timedelta(minutes=2)).get() == left
    # Requested while the clock was an hour fast.
    assert snapshots.abandoned(now=timezone.now() - timedelta(hours=1)).get() == left
    assert snapshots.build(left.pk).state == "ready"


def test_what_was_exported_can_be_imported_elsewhere(cast):
    give_judgments(cast, 8)
    exported = snapshots.folder_of(freeze(cast))
    for path in exported.glob("*.jsonl"):
        if path.stat().st_size:
            import_file(project=cast.other_project, path=path, by=cast.outsider)
    copied = Judgment.objects.filter(project=cast.other_project)
    assert copied.count() == 8
    assert {tuple(len(tier) for tier in judgment.latest.tiers) for judgment in copied} == {(1, 2)}
    assert set(copied.values_list("labeler__username", flat=True)) == {
        f"imported:elsewhere:{cast.project.pseudonym(cast.labeler.pk)}"
    }


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_under_way_does_not_hold_up_a_labeler(cast):
    """Half of the rows are read, a labeler submits, and the rest is read as it was at the start."""
    give_judgments(cast, 5)
    task = make_comparison(cast.project, "Late", TEXTS)
    late = queue.claim_next(labeler=cast.labeler, project=cast.project)
    snapshot = snapshots.request(project=cast.project, kind="rankings", by=cast.manager)

    def submit() -> None:
        judge(late, [response_ids(task)])
        connection.close()

    stream = snapshots.rows(snapshot)
    first = next(stream)
    labeler = threading.Thread(target=submit)
    labeler.start()
    labeler.join(timeout=10)
    assert not labeler.is_alive()
    assert Judgment.objects.count() == 6
    assert len([first, *stream]) == 5


def test_ratings_of_single_responses_are_rankings_of_one_without_a_rank(cast):
    criteria = [{"name": "help", "label": "Help", "min": 0, "max": 4}]
    edit_project(project=cast.project, by=cast.manager, criteria=criteria, task_kinds=["rate"])
    cast.project.refresh_from_db()
    prompt = make_prompt(cast.project)
    response = make_responses(prompt, "In water.")[0]
    task = Task.objects.create(project=cast.project, kind=Task.Kind.RATE, prompt=prompt)
    task.task_responses.create(response=response, number=0)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    judge(assignment, [], ratings={str(response.pk): {"help": 3}})
    snapshot = freeze(cast, kind="ratings")
    (row,) = [row for split in ("train", "validation", "test") for row in read(snapshot, split)]
    assert row["responses"] == [
        {"text": "In water.", "rank": None, "model": "a-model", "acceptable": True, "ratings": {"help": 3}}
        | {"finish_reason": "eos"}
    ]
    with pytest.raises(Refused, match="no rankings"):
        freeze(cast)
    assert freeze(cast, kind="ratings", format="parquet").rows == 1
    assert freeze(cast, kind="ratings", format="trl").rows == 1


def test_a_response_that_a_labeler_bettered_is_a_pair(cast):
    task = make_comparison(cast.project, "Question", TEXTS)
    good, fine, poor = response_ids(task)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    judge(assignment, [[good], [fine, poor]], content={"improved": {"response": good, "text": "Better still"}})
    snapshot = freeze(cast)
    rows = [row for split in ("train", "validation", "test") for row in read(snapshot, split)]
    assert [row["id"].partition("-")[0] for row in rows] == ["judgment", "edit"]
    assert [(item["text"], item["rank"]) for item in rows[1]["responses"]] == [("Better still", 1), (TEXTS[0], 2)]
    assert rows[1]["labeler"] == cast.project.pseudonym(cast.labeler.pk)
    edited, original = rows[1]["responses"]
    assert (edited["author"], edited["author_kind"]) == (rows[1]["labeler"], "person")
    assert original["model"] == "a-model"
    with pytest.raises(Refused, match="no rankings"):
        freeze(cast, filters={"sources": ["ai"]})
