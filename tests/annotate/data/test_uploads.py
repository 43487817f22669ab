"""Large files come in through the page and are imported by a job: kept, followed, cancelled, never lost."""

import gzip
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from annotate.data import import_stages, imports, pacing, uploads
from annotate.models import DataImport, OutboxEvent, Prompt, Upload
from annotate.people import event_outbox
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast, make_cast

PAGE = "/p/kindness/prompts/"


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture(autouse=True)
def sent(monkeypatch) -> list[tuple]:
    """Messages to workers; `run` is what a worker does with one."""
    found: list[tuple] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def manager(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.manager)
    return client


def lines(count: int) -> bytes:
    """Prompts in JSON lines, about 1.1 kB each."""
    rows = [{"id": f"r{n}", "prompt": f"Question {n}? {'x' * 1000}", "lang": "en"} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


LARGE = lines(2_500)


def send_in(client: Client, content: bytes = LARGE, name: str = "many.jsonl", **fields: str):
    return client.post(f"{PAGE}import", {"file": SimpleUploadedFile(name, content), "format": "auto", **fields})


def kept() -> list[Path]:
    return sorted((Path(django_settings.HONE_DATA) / "uploads").glob("*"))


def polled(client: Client) -> str:
    reply = client.get(f"{PAGE}imports", headers={"HX-Request": "true"})
    assert reply.status_code == 200
    return reply.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_large_file_is_imported_by_a_job(sent):
    cast = make_cast()
    client = Client()
    client.force_login(cast.manager)
    reply = send_in(client, limit="2000")
    assert (reply.status_code, reply["Location"]) == (302, PAGE)
    assert Prompt.objects.count() == 0
    upload = Upload.objects.get()
    assert sent == [("rlhf.import_upload", upload.pk)]
    (path,) = kept()
    assert (path.stat().st_mode & 0o777, path.stat().st_size, path.suffix) == (0o600, len(LARGE), ".jsonl")
    page = client.get(PAGE).content.decode()
    assert "The file is here and is imported in the background." in page
    assert "It waits for a worker" in page
    assert 'hx-trigger="every 2s"' in page
    tasks.import_upload(upload.pk)
    assert Prompt.objects.count() == 2000
    assert kept() == []
    page = polled(client)
    assert "2500 rows read: 2000 prompts. 500 left out: beyond the first 2000." in page
    assert "hx-trigger" not in page
    tasks.import_upload(upload.pk)  # the message came twice
    assert DataImport.objects.count() == 1


def test_small_files_are_imported_at_once_but_not_what_may_unfold_to_much(cast, manager, sent):
    send_in(manager, lines(100), name="few.jsonl")
    assert (Prompt.objects.count(), Upload.objects.count()) == (100, 0)
    noise = os.urandom(100_000).hex()
    content = gzip.compress(json.dumps({"prompt": noise}).encode() + b"\n" + lines(5))
    assert 64 * 2**10 < len(content) < 2 * 2**20
    send_in(manager, content, name="rows.jsonl.gz")
    upload = Upload.objects.get()
    tasks.import_upload(upload.pk)
    upload.refresh_from_db()
    assert upload.report["created"]["prompts"] == 1
    assert "6 rows read: 1 prompts. 5 rows were there already." in polled(manager)


def test_broken_rows_and_refusals_are_said_on_the_page(cast, manager):
    send_in(manager, LARGE + b"{oops\n")
    send_in(manager, b"\xff\xfe\x00" * 1_000_000, name="x.jsonl")
    for upload in Upload.objects.all():
        tasks.import_upload(upload.pk)
    assert set(Upload.objects.values_list("state", flat=True)) == {"refused"}
    page = polled(manager)
    assert "Nothing was imported: 1 of 2501 rows is broken." in page
    assert "line 2501: " in page
    assert kept() == []
    assert Prompt.objects.count() == 0


def test_progress_is_shown_and_a_cancelled_import_leaves_nothing(cast, manager, monkeypatch):
    monkeypatch.setattr(uploads, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 100)
    send_in(manager)
    upload = Upload.objects.get()
    pages = []
    add = imports.RowStore.add

    def look(store, rows):
        add(store, rows)
        if len(pages) == 3:
            reply = manager.post(f"{PAGE}imports", {"cancel": upload.pk}, headers={"HX-Request": "true"})
            pages.append(reply.content.decode())
        else:
            pages.append(polled(manager))

    check = imports._check

    def look_before(*arguments, **named):
        check(*arguments, **named)
        pages.append(polled(manager))

    monkeypatch.setattr(imports, "_check", look_before)
    monkeypatch.setattr(imports.RowStore, "add", look)
    tasks.import_upload(upload.pk)
    assert "2500 rows checked; nothing is written before all are." in pages[0]
    assert "<progress" in pages[2]
    assert "It is being cancelled; what was written is taken back." in pages[-1]
    upload.refresh_from_db()
    assert upload.state == "cancelled"
    assert "Nothing of it was imported." in polled(manager)
    assert (Prompt.with_unfinished.count(), kept()) == (0, [])


def test_a_file_that_is_only_checked_is_not_said_to_be_imported(cast, manager, monkeypatch):
    send_in(manager, check="yes")
    assert "is checked in the background" in manager.get(PAGE).content.decode()
    monkeypatch.setattr(uploads, "REPORT_SECONDS", 0.0)
    pages = []
    check = imports._check

    def look(*arguments, **named):
        check(*arguments, **named)
        pages.append(polled(manager))

    monkeypatch.setattr(imports, "_check", look)
    tasks.import_upload(Upload.objects.get().pk)
    assert "Being checked" in pages[0]
    assert "Being imported" not in pages[0]
    assert "2500 rows checked so far; nothing is written." in pages[0]
    assert "Cancel the check" in pages[0]
    assert "Checked only; nothing was written." in polled(manager)


def test_a_waiting_file_is_cancelled_at_once_and_only_by_managers_of_its_project(cast, manager):
    event_outbox.listen(cast.project, ["import.finished"])
    send_in(manager)
    upload = Upload.objects.get()
    outsider = Client()
    outsider.force_login(cast.outsider)
    assert outsider.post("/p/elsewhere/prompts/imports", {"cancel": upload.pk}).status_code == 404
    for number in ("x", "", "9" * 15):
        assert manager.post(f"{PAGE}imports", {"cancel": number}).status_code == 404
    assert manager.post(f"{PAGE}imports", {"cancel": upload.pk}).status_code == 302
    upload.refresh_from_db()
    assert (upload.state, kept()) == ("cancelled", [])
    manager.post(f"{PAGE}imports", {"cancel": upload.pk})
    tasks.import_upload(upload.pk)
    assert Prompt.objects.count() == 0
    assert list(OutboxEvent.objects.values_list("event", "payload")) == [
        ("import.finished", {"import": upload.pk, "state": "cancelled", "file": upload.file_name})
    ]


def test_one_that_meets_another_import_waits_and_comes_next(cast, manager, sent):
    under_way = import_stages.begin(project=cast.project, by=None, file_name="rows.jsonl", wait=False)
    send_in(manager)
    send_in(manager, lines(2_600))
    second, first = Upload.objects.all()
    tasks.import_upload(first.pk)
    first.refresh_from_db()
    assert (first.state, first.attempts, first.error) == ("waiting", 0, "")
    DataImport.objects.filter(pk=under_way.pk).update(state="failed")
    sent.clear()
    tasks.reap_queue()
    assert [message for message in sent if message[0] == "rlhf.import_upload"] == [
        ("rlhf.import_upload", first.pk),
        ("rlhf.import_upload", second.pk),
    ]
    sent.clear()
    tasks.import_upload(first.pk)
    assert sent == [("rlhf.import_upload", second.pk)]
    tasks.import_upload(second.pk)
    second.refresh_from_db()
    assert second.report["created"]["prompts"] == 100


def test_a_job_that_dies_after_the_rows_are_seen_reports_what_they_are(cast, manager, monkeypatch):
    send_in(manager)
    upload = Upload.objects.get()

    def die(job, **values):
        raise KeyboardInterrupt

    end = uploads._Job._end
    monkeypatch.setattr(uploads._Job, "_end", die)
    with pytest.raises(KeyboardInterrupt):
        tasks.import_upload(upload.pk)
    monkeypatch.setattr(uploads._Job, "_end", end)
    assert Prompt.objects.count() == 2500
    tasks.import_upload(upload.pk)  # its lease isn't over
    upload.refresh_from_db()
    assert upload.state == "working"
    Upload.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.import_upload(upload.pk)
    upload.refresh_from_db()
    assert (upload.state, upload.report["created"]["prompts"]) == ("done", 2500)
    assert DataImport.objects.count() == 1


def test_a_job_that_was_taken_for_dead_writes_nothing_more(cast, manager, monkeypatch):
    monkeypatch.setattr(uploads, "REPORT_SECONDS", 0.0)
    send_in(manager)
    upload = Upload.objects.get()
    add = imports.RowStore.add

    def stood_still(store, rows):
        add(store, rows)
        Upload.objects.update(token=None)

    monkeypatch.setattr(imports.RowStore, "add", stood_still)
    tasks.import_upload(upload.pk)
    upload.refresh_from_db()
    assert upload.state == "working"
    assert len(kept()) == 1
    assert Prompt.with_unfinished.count() == 0


def test_a_file_whose_jobs_die_again_and_again_is_given_up_in_a_sentence(cast, manager, monkeypatch):
    send_in(manager)
    upload = Upload.objects.get()

    def away(*arguments, **named):
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "import_file", away)
        for _ in range(3):
            tasks.import_upload(upload.pk)
            Upload.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.import_upload(upload.pk)
    upload.refresh_from_db()
    assert upload.state == "refused"
    assert "The import was begun 3 times, and each time its process ended." in polled(manager)


def test_files_that_nobody_names_are_taken_away_after_a_while(cast, manager):
    send_in(manager)
    (named,) = kept()
    forgotten = named.with_name("0" * 32 + ".jsonl")
    forgotten.write_bytes(b"x")
    assert uploads.remove_forgotten(now=timezone.now()) == 0
    for path in (named, forgotten):
        os.utime(path, (time.time() - 7200,) * 2)
    assert uploads.remove_forgotten(now=timezone.now()) == 1
    assert kept() == [named]
