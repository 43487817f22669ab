"""An import of any size: unseen until it is whole, in transactions so short that nobody waits, gone when it dies."""

import gc
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.data import import_stages, imports, language_guess, pacing, snapshots
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.chats.live_responses import prompt_of
from annotate.models import (
    Assignment,
    DataImport,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Prompt,
    PromptChange,
    Response,
    Task,
    TaskResponse,
)
from annotate.models.data.data_import import writing
from annotate.models.data.prompt import content_hash
from annotate.quality import project_figures
from tests.conftest import ROOT, wait_until
from tests.factories import volume
from tests.factories.cast import Cast, keys_of, make_cast

# Not HONE_...: those are settings, which tests do without. The size that users reported takes a quarter of an hour:
# TEST_IMPORT_ROWS=100000 TEST_EXPORT_ROWS=12000.
IMPORT_ROWS = int(os.environ.get("TEST_IMPORT_ROWS", "4000"))
EXPORT_ROWS = int(os.environ.get("TEST_EXPORT_ROWS", "2000"))
WRITTEN = (Prompt, Response, Task, TaskResponse, Assignment, Judgment, JudgmentRevision, Demonstration)


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def write_rows(path: Path, count: int, *, also: tuple[dict, ...] = ()) -> Path:
    """Rows of all kinds: prompts, rankings, comparisons to make and demonstrations, in turn."""
    responses = [{"text": "Yes.", "model": "a"}, {"text": "No.", "model": "b"}]
    ranked = [{**response, "rank": rank} for rank, response in enumerate(responses, start=1)]
    kinds = [{}, {"responses": ranked, "labeler": "Ann"}, {"responses": responses}, {"response": "Perhaps."}]
    rows = [{"prompt": messages(f"Imported {number}?"), **kinds[number % 4]} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *also]))
    return path


def seen(cast: Cast) -> dict[str, int]:
    """What anybody sees of the imported data."""
    return {
        "prompts": cast.project.prompts.count(),
        "tasks": cast.project.tasks.count(),
        "judgments": cast.project.judgments.count(),
        "demonstrations": Demonstration.objects.filter(prompt__project=cast.project).count(),
        "responses": Response.objects.filter(prompt__project=cast.project).count(),
        "open": project_figures.count(cast.project).tasks_open,
    }


def summary(seconds: list[float]) -> str:
    """How long something took, in milliseconds."""
    centiles = statistics.quantiles(seconds, n=100)
    return (
        f"{len(seconds)}, p50 {1000 * centiles[49]:.1f}, p95 {1000 * centiles[94]:.1f}, p99 {1000 * centiles[98]:.1f}, "
        f"max {1000 * max(seconds):.1f} ms, {sum(second > 0.2 for second in seconds)} over 200 ms"
    )


NOTHING = {"prompts": 0, "tasks": 0, "judgments": 0, "demonstrations": 0, "responses": 0, "open": 0}


def test_rows_are_seen_all_at_once_or_not_at_all(cast, tmp_path, monkeypatch):
    path, batches = write_rows(tmp_path / "rows.jsonl", 60), []
    add = imports.RowStore.add

    def look_after_each_batch(store, rows):
        add(store, rows)
        with writing(DataImport(pk=None)):
            batches.append(seen(cast))
            assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None

    monkeypatch.setattr(imports.RowStore, "add", look_after_each_batch)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 4)
    report = import_file(project=cast.project, path=path, by=cast.manager)
    assert len(batches) > 2
    assert batches == [NOTHING] * len(batches)
    assert report.created == {"prompts": 60, "demonstrations": 15, "responses": 0, "tasks": 30, "judgments": 15}
    expected = {"prompts": 60, "tasks": 30, "judgments": 15, "demonstrations": 15, "responses": 75, "open": 15}
    assert seen(cast) == expected
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is not None
    monkeypatch.undo()
    again = import_file(project=cast.project, path=path, by=cast.manager)
    assert (again.duplicates, set(again.created.values())) == (60, {0})
    assert seen(cast) == expected


def test_an_import_that_fails_leaves_no_row(cast, tmp_path, monkeypatch):
    path = write_rows(tmp_path / "rows.jsonl", 60)
    add, batches = imports.RowStore.add, []

    def out_of_room(store, rows):
        add(store, rows)
        batches.append(len(rows))
        if len(batches) == 3:
            raise OSError("no space left")

    monkeypatch.setattr(imports.RowStore, "add", out_of_room)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 4)
    before = {model: model._base_manager.count() for model in WRITTEN}
    with pytest.raises(OSError, match="no space left"):
        import_file(project=cast.project, path=path, by=cast.manager)
    assert {model: model._base_manager.count() for model in WRITTEN} == before
    assert DataImport.objects.get().state == "failed"
    monkeypatch.undo()
    assert import_file(project=cast.project, path=path, by=cast.manager).created["prompts"] == 60


def test_a_prompt_that_a_labeler_writes_meanwhile_stays_when_the_import_fails(cast, tmp_path, monkeypatch):
    """It is in the file, too: it is the same prompt, and the labeler's work doesn't go with the import."""
    Task.objects.create(project=cast.project, kind="write_prompt")
    cast.project.task_kinds = ["write_prompt"]
    cast.project.save()
    path = write_rows(tmp_path / "rows.jsonl", 60)
    add, batches = imports.RowStore.add, []

    def written_meanwhile(store, rows):
        add(store, rows)
        batches.append(len(rows))
        if len(batches) == 3:
            raise OSError("no space left")
        if len(batches) == 2:
            with writing(DataImport(pk=None)):
                held = queue.claim_next(labeler=cast.labeler, project=cast.project)
                content = {"kind": "plain", "query": "Imported 3?"}
                submission = queue.Submission(client_id=uuid.uuid4(), tiers=(), content=content)
                queue.submit(assignment_id=held.pk, labeler=cast.labeler, submission=submission)

    monkeypatch.setattr(imports.RowStore, "add", written_meanwhile)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 4)
    with pytest.raises(OSError, match="no space left"):
        import_file(project=cast.project, path=path, by=cast.manager)
    assert [prompt.question for prompt in Prompt._base_manager.all()] == ["Imported 3?"]
    assert Response._base_manager.count() == 0


@pytest.mark.parametrize("way", ["written", "chat"])
def test_a_prompt_that_an_import_brings_at_the_same_moment_is_the_same_one(cast, monkeypatch, way):
    """PostgreSQL lets both write: the labeler's turn comes after the import's, whose row isn't seen yet."""
    text = messages("Imported 3?")
    under_way = import_stages.begin(project=cast.project, by=None, file_name="rows.jsonl", wait=False)
    known, arrived = Prompt.known, []

    def brought_after_the_first_look(**named):
        if arrived:
            return known(**named)
        with writing(under_way):
            arrived.append(Prompt.objects.create(project=cast.project, messages=text, language="en"))
        return None

    opening = None if way == "written" else Prompt.objects.create(project=cast.project, messages=messages("Hello."))
    kind = "write_prompt" if way == "written" else "chat"
    Task.objects.create(project=cast.project, kind=kind, prompt=opening)
    cast.project.task_kinds = [kind]
    cast.project.save()
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    monkeypatch.setattr(Prompt, "known", brought_after_the_first_look)
    if way == "written":
        submission = queue.Submission(
            client_id=uuid.uuid4(), tiers=(), content={"kind": "plain", "query": "Imported 3?"}
        )
        queue.submit(assignment_id=held.pk, labeler=cast.labeler, submission=submission)
    else:
        assert prompt_of(held, text) == arrived[0]
    assert Prompt.objects.get(content_hash=content_hash(text)) == arrived[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("claimed", [False, True], ids=["hidden", "claimed"])
def test_chats_and_what_they_began_as_go_with_an_import_that_fails(tmp_path, monkeypatch, claimed):
    """They are written in one batch and removed in many; a chat that somebody else's is now keeps its beginning."""
    cast = make_cast()
    chats = [[*messages(f"Hello {n}."), {"role": "assistant", "content": "Hi."}, *messages("Why?")] for n in range(6)]
    rows = [{"prompt": chat, "opening": messages(f"Hello {n}.")} for n, chat in enumerate(chats)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add = imports.RowStore.add

    def claim(store, rows):
        add(store, rows)
        if claimed:
            assert Prompt.known(project_id=cast.project.pk, digest=content_hash(chats[5])) is not None

    def out_of_room(stage, report):
        raise OSError("no space left")

    monkeypatch.setattr(imports.RowStore, "add", claim)
    monkeypatch.setattr(import_stages.Stage, "show", out_of_room)
    remove = import_stages._remove

    def in_small_batches(*arguments, **named):
        monkeypatch.setattr(pacing, "FIRST_BATCH", 2)
        return remove(*arguments, **named)

    monkeypatch.setattr(import_stages, "_remove", in_small_batches)
    with pytest.raises(OSError, match="no space left"):
        import_file(project=cast.project, path=path, by=cast.manager)
    assert DataImport.objects.get().state == "failed"
    left = {prompt.messages[0]["content"] for prompt in Prompt._base_manager.all()}
    assert (left, Prompt._base_manager.count()) == (({"Hello 5."}, 2) if claimed else (set(), 0))


def known_prompts(cast: Cast, path: Path, count: int) -> Path:
    """Prompts that are in the project, and a file that marks each as one that may upset."""
    prompts = [Prompt(project=cast.project, messages=messages(f"Known {n}?"), language="en") for n in range(count)]
    for prompt in prompts:
        prompt.set_content_fields()
    Prompt.objects.bulk_create(prompts)
    rows = [{"id": f"k{n}", "prompt": messages(f"Known {n}?"), "sensitive": True} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.django_db(transaction=True)
def test_prompts_that_were_there_are_marked_in_short_transactions(tmp_path):
    cast = make_cast()
    path = known_prompts(cast, tmp_path / "rows.jsonl", 3000)
    updated = [0]

    def counted(execute, sql, params, many, context):
        if sql.startswith("BEGIN"):
            updated.append(0)
        result = execute(sql, params, many, context)
        if sql.startswith('UPDATE "annotate_prompt"'):
            updated[-1] += context["cursor"].rowcount
        return result

    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no write lock that others wait for")
    with connection.execute_wrapper(counted):
        import_file(project=cast.project, path=path, by=cast.manager)
    assert Prompt.objects.filter(sensitive=True).exclude(external_id="").count() == 3000
    # Each twice: the mark and the id.
    assert sum(updated) == 6000
    assert max(updated) <= 1000


@pytest.mark.parametrize("killed", ["before", "within"])
def test_an_import_that_dies_once_it_is_seen_is_finished_by_another(cast, tmp_path, monkeypatch, killed):
    path = known_prompts(cast, tmp_path / "rows.jsonl", 60)
    with path.open("a") as file:
        file.write(json.dumps({"prompt": messages("New?")}) + "\n")
    apply, applied = import_stages._apply, []

    def die(changes):
        if killed == "within" and not applied:
            applied.append(len(changes))
            return apply(changes)
        raise KeyboardInterrupt

    monkeypatch.setattr(import_stages, "_apply", die)
    with pytest.raises(KeyboardInterrupt):
        import_file(project=cast.project, path=path, by=cast.manager)
    monkeypatch.undo()
    assert Prompt.objects.filter(sensitive=True).count() == sum(applied)
    assert seen(cast)["prompts"] == 61
    with pytest.raises(Refused, match="Another file is being imported"):
        import_file(project=cast.project, path=path, by=cast.manager, wait=False)
    assert import_stages.reap() == 0
    assert import_stages.reap(now=timezone.now() + import_stages.LEASE) == 1
    assert Prompt.objects.filter(sensitive=True).exclude(external_id="").count() == 60
    assert (DataImport.objects.get().state, PromptChange.objects.count()) == ("done", 0)
    again = import_file(project=cast.project, path=path, by=cast.manager)
    assert (again.duplicates, again.remarks, again.not_kept) == (61, {}, Counter())


@pytest.mark.parametrize("way", ["page", "command"])
def test_an_import_that_was_given_up_is_a_sentence(cast, tmp_path, monkeypatch, way):
    """Its process stood still for longer than its lease, and another one removed what it had written."""
    path = write_rows(tmp_path / "rows.jsonl", 60)
    add, batches = imports.RowStore.add, []

    def stood_still(store, rows):
        add(store, rows)
        batches.append(len(rows))
        if len(batches) == 2:
            with writing(DataImport(pk=None)):
                assert import_stages.reap(now=timezone.now() + import_stages.LEASE) == 1

    monkeypatch.setattr(imports.RowStore, "add", stood_still)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 4)
    sentence = (
        "The import of rows.jsonl stood still for more than 60 seconds, so it was given up and its rows are being "
        "removed. Nothing was imported; import the file again."
    )
    if way == "page":
        client = Client()
        client.force_login(cast.manager)
        with path.open("rb") as file:
            reply = client.post("/p/kindness/prompts/import", {"file": file, "format": "auto"})
        assert (reply.status_code, sentence in reply.content.decode()) == (409, True)
    else:
        with pytest.raises(CommandError) as refusal:
            call_command("import_data", "kindness", str(path))
        assert (str(refusal.value), refusal.value.returncode) == (sentence, 2)
    assert seen(cast) == NOTHING
    assert Prompt.with_unfinished.count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_a_killed_import_wrote_is_never_seen_and_removed(process_environment, tmp_path):
    cast = make_cast()
    path = write_rows(tmp_path / "rows.jsonl", 4000)
    command = [sys.executable, "manage.py", "import_data", "kindness", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, env=process_environment, start_new_session=True)
    wait_until(lambda: Judgment.with_unfinished.count() > 20, what="a part to be written")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert seen(cast) == NOTHING
    with pytest.raises(Refused, match="nothing to freeze"):
        snapshots.freeze(project=cast.project, kind="prompts", by=cast.manager)
    with pytest.raises(Refused, match="Another file is being imported") as refusal:
        import_file(project=cast.project, path=path, by=cast.manager, wait=False)
    assert refusal.value.status == 409
    assert import_stages.reap() == 0
    assert import_stages.reap(now=timezone.now() + import_stages.LEASE) == 1
    assert [model._base_manager.count() for model in WRITTEN] == [0] * len(WRITTEN)
    assert import_file(project=cast.project, path=path, by=cast.manager, wait=False).created["judgments"] == 1000


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_come_one_after_the_other(process_environment, tmp_path):
    """They bring the same rows: what the first made, the second finds."""
    cast = make_cast()
    path = write_rows(tmp_path / "rows.jsonl", 400)
    command = [sys.executable, "manage.py", "import_data", "kindness", str(path)]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=process_environment, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    said = sorted(process.communicate()[0] for process in both)
    assert said == [
        "400 rows read: 400 prompts, 100 demonstrations, 200 tasks, 100 judgments. Language guessed (en 400): 400.\n",
        "400 rows read: nothing new. 400 rows were there already.\n",
    ]
    assert seen(cast)["judgments"] == 100


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_nobody_waits_for_the_database_beside_a_large_import_and_an_export(process_environment, tmp_path, settings):
    """A labeler submits through the page while a file comes in and judgments go out, each in a process of its own."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    cast = make_cast()
    volume.add_judgments(cast.project, cast.labeler, EXPORT_ROWS)
    volume.add_comparisons(cast.project, range(EXPORT_ROWS, EXPORT_ROWS + 1000 + IMPORT_ROWS // 10))
    path = write_rows(tmp_path / "rows.jsonl", IMPORT_ROWS)
    commands = [["import_data", "kindness", str(path)], ["export_data", "kindness", "--format", "hone", "--out", "out"]]
    commands[1][-1] = str(tmp_path / "out")
    processes = [
        subprocess.Popen([sys.executable, "manage.py", *command], cwd=ROOT, env=process_environment)
        for command in commands
    ]
    client = Client(headers={"HX-Request": "true"})
    client.force_login(cast.second_labeler)
    waits, locks = [], []

    def time_the_lock(execute, sql, params, many, context):
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            if sql.startswith("BEGIN"):
                locks.append(time.perf_counter() - began)

    while any(process.poll() is None for process in processes):
        held = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        assert held is not None
        fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(held), start=1)}
        fields |= {"client_id": str(uuid.uuid4()), "seconds": "3", "comment": ""}
        began = time.perf_counter()
        with connection.execute_wrapper(time_the_lock):
            reply = client.post(f"/p/kindness/work/{held.pk}/submit", fields)
        waits.append(time.perf_counter() - began)
        assert reply.status_code == 200
        time.sleep(0.02)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(waits) > 10
    print(f"submits: {summary(waits)}")
    if locks:  # PostgreSQL has no lock that a transaction begins with
        print(f"waits for the write lock: {summary(locks)}")
    # By the clock, on a machine that may be busy with ten other things: below the 20 s after which SQLite gives up.
    assert max(waits) < 15.0


def test_no_transaction_of_an_import_is_long(cast, tmp_path, monkeypatch):
    """In processor time, which is the same on a busy machine: about 40 ms each, whatever the size of the file."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no write lock that others wait for, so its batches are larger")
    taken, transaction = [], pacing.Pace.transaction

    @contextmanager
    def timed(pace):
        with transaction(pace):
            began = time.thread_time()
            yield
            taken.append(time.thread_time() - began)

    monkeypatch.setattr(pacing.Pace, "transaction", timed)
    import_file(project=cast.project, path=write_rows(tmp_path / "rows.jsonl", 2000), by=cast.manager)
    assert len(taken) > 10
    assert statistics.median(taken) < 0.08
    assert statistics.quantiles(taken, n=10)[-1] < 0.2  # a single one may meet the garbage collector


def test_a_batch_of_an_import_reads_no_more_in_a_large_project(cast, tmp_path, monkeypatch):
    """Its queries find rows by what the batch names, and don't walk over all that the project has."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by how large its tables are, which these are not")
    add, asked = imports.RowStore.add, []

    def listen(store, rows):
        with CaptureQueriesContext(connection) as captured:
            add(store, rows)
        asked.extend(query["sql"] for query in captured if query["sql"].startswith("SELECT"))

    monkeypatch.setattr(imports.RowStore, "add", listen)
    import_file(project=cast.project, path=write_rows(tmp_path / "rows.jsonl", 60), by=cast.manager)
    with connection.cursor() as cursor:
        steps = {step[3]: sql for sql in asked for step in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()}
    assert len(steps) > 4
    walks = [step for step in steps if re.search(r"^SCAN annotate_|\((project_id|state)=\?\)", step)]
    assert [step for step in walks if "annotate_dataimport" not in step] == []


def test_batches_grow_and_shrink_with_the_time_they_take(db, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pacing.time, "thread_time", lambda: now[0])
    monkeypatch.setattr(pacing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(pacing, "HOLD_SECONDS", {"sqlite": 0.04, "postgresql": 0.04})
    pace, sizes = pacing.Pace(largest=100), []
    for batch in pace.batches(range(500)):
        sizes.append(len(batch))
        with pace.transaction():
            now[0] += len(batch) * (0.0001 if len(sizes) < 6 else 0.001)
    assert sizes == [20, 40, 80, 100, 100, 100, 40, 20]


@pytest.mark.django_db(transaction=True)
def test_no_garbage_is_collected_and_no_language_loaded_while_others_wait(cast, tmp_path, monkeypatch):
    """Either takes up to half a second: seen as waits of as long for the write lock."""
    within, add = [], imports.RowStore.add
    language_guess._identifier.cache_clear()

    def record(store, rows):
        within.append((gc.isenabled(), language_guess._identifier.cache_info().currsize))
        add(store, rows)

    monkeypatch.setattr(imports.RowStore, "add", record)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "How long do eggs take to boil in a small pot?"}\n', encoding="utf-8")
    import_file(project=cast.project, path=path, by=cast.manager)
    assert within == [(False, 1)]
    assert gc.isenabled()


@pytest.mark.django_db(transaction=True)
def test_others_get_the_lock_between_two_batches(monkeypatch):
    """The pause is what SQLite's waiters, who look every 2 ms, need; PostgreSQL's don't wait."""
    rests = []
    monkeypatch.setattr(pacing.time, "sleep", rests.append)
    pace = pacing.Pace()
    for _batch in pace.batches(range(60)):
        with pace.transaction():
            DataImport.objects.filter(pk=0).update(rows_written=0)
    if connection.vendor == "sqlite":
        assert len(rests) >= 1
        assert all(0 < rest <= 0.01 for rest in rests)
    else:
        assert rests == []
