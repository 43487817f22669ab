"""What is said of a file before and after its import: a dry run, columns by hand, and the rows that were not taken."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone, translation

from annotate.data import rejected_rows, uploads
from annotate.data.imports import check_file, import_file
from annotate.models import DataImport, Judgment, Prompt, Upload
from tests.factories.cast import Cast

PAGE = "/p/kindness/prompts/"
ROWS = [
    {"prompt": "One?", "lang": "en"},
    {"prompt": "Zwei?", "lang": "de"},
    {"prompt": "Two?", "response": "b", "label": "perhaps", "lang": "en"},
    {"prompt": "Three?", "chosen": "a", "rejected": "b", "lang": "en"},
]
TABLE = b"question,good,bad,prompt\nName a fruit.,An apple.,Bread.,7\n"


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture
def manager(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.manager)
    return client


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rejected(cast: Cast, name: str) -> list[dict]:
    path = rejected_rows.path_of(cast.project, name)
    assert path is not None
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_dry_run_says_what_would_come_and_writes_nothing(cast, tmp_path, capsys):
    path = written(tmp_path, *ROWS)
    call_command("import_data", "kindness", str(path), "--dry-run", "--language", "en")
    said = capsys.readouterr()
    assert said.out == (
        "Checked only; nothing was written. 4 rows read: 1 prompts, 1 judgments. 1 left out: not in the language en. "
        "1 left out: its rating is no number.\n"
    )
    assert "The 2 rows that were not taken are in" in said.err
    assert (Prompt.objects.count(), DataImport.objects.count()) == (0, 0)
    report = import_file(project=cast.project, path=path, by=None, dry_run=True)
    assert report.preview == [
        ["prompts", "One?", []],
        ["prompts", "Zwei?", []],
        ["judgments", "Three?", [["a", 1], ["b", 2]]],
    ]


def test_every_row_that_is_not_taken_is_kept_with_its_reason(cast, tmp_path):
    report = import_file(project=cast.project, path=written(tmp_path, *ROWS), by=None, language="en", limit=1)
    assert (report.created["prompts"], report.rejected_rows) == (1, 3)
    assert rejected(cast, report.rejected) == [
        {"place": "line 2", "reason": "not in the language en", "row": [{"role": "user", "content": "Zwei?"}]},
        {"place": "line 3", "reason": "its rating is no number", "row": ROWS[2]},
        {"place": "line 4", "reason": "beyond the first 1", "row": [{"role": "user", "content": "Three?"}]},
    ]


def test_broken_rows_are_kept_too_all_of_them(cast, tmp_path):
    path = written(tmp_path, *[{"prompt": number} for number in range(30)], "{oops", '{"a": 1, "a": 2}')
    report = import_file(project=cast.project, path=path, by=None, format="hone")
    assert (len(report.errors), report.more_errors, report.rejected_rows) == (20, 12, 32)
    lines = rejected(cast, report.rejected)
    assert lines[29]["row"] == {"prompt": 29}
    assert [("row" in line, line["place"]) for line in lines[30:]] == [(False, "line 31"), (False, "line 32")]


def test_nothing_is_kept_where_all_rows_are_taken(cast, tmp_path, settings):
    report = import_file(project=cast.project, path=written(tmp_path, ROWS[0]), by=None)
    assert report.rejected == ""
    assert not (settings.HONE_DATA / "rejected").exists()


def test_the_page_gives_the_rows_to_managers_of_the_project_alone(cast, manager):
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    form = {"file": SimpleUploadedFile("rows.jsonl", content), "format": "auto"}
    page = manager.post(f"{PAGE}import", form).content.decode()
    assert "1 row that was not taken, with the reason" in page
    address = page.partition('<a href="/p/kindness/prompts/rejected/')[2].partition('"')[0]
    reply = manager.get(f"{PAGE}rejected/{address}")
    assert json.loads(b"".join(reply.streaming_content))["reason"] == "its rating is no number"
    for name in ("0" * 32 + ".jsonl", "..%2f..%2fhone.sqlite3", address[:-1]):
        assert manager.get(f"{PAGE}rejected/{name}").status_code == 404
    other = Client()
    other.force_login(cast.labeler)
    assert other.get(f"{PAGE}rejected/{address}").status_code == 403


def test_the_page_checks_a_file_and_shows_how_it_was_understood(cast, manager):
    form = {"file": SimpleUploadedFile("rows.csv", TABLE), "format": "auto", "check": "yes"}
    page = manager.post(
        f"{PAGE}import", form | {"columns": "prompt=question, chosen=good, rejected=bad"}
    ).content.decode()
    assert "Checked only; nothing was written. 1 rows read: 1 judgments." in page
    assert "prompt (column) (1 row)" in page
    assert "An apple." in page
    assert Judgment.objects.count() == 0
    form["file"] = SimpleUploadedFile("rows.csv", TABLE)
    reply = manager.post(f"{PAGE}import", form | {"columns": "prompt"})
    assert (reply.status_code, "Write it like prompt=question" in reply.content.decode()) == (400, True)


def chosen_fields(page: str) -> dict[str, str]:
    """{column: the field that is selected} of the page's choices."""
    columns = re.findall(r'<label for="map-\d+"><bdi>(.*?)</bdi>', page)
    selects = re.findall(r'<select name="map".*?</select>', page, flags=re.DOTALL)
    values = [re.findall(r'<option value="([^"]*)"\s+selected', select) for select in selects]
    return {column: "".join(value) for column, value in zip(columns, values, strict=True)}


@pytest.mark.parametrize("repeated", [1, 2_200])
def test_the_page_asks_what_the_columns_of_an_unknown_file_hold(cast, manager, settings, repeated):
    content = b"Question,good,bad,note\n" + (b"Name a fruit.,An apple.,Bread.," + b"n" * 1_000 + b"\n") * repeated
    form = {"file": SimpleUploadedFile("rows.csv", content), "format": "auto", "check": "yes"}
    reply = manager.post(f"{PAGE}import", form)
    page = reply.content.decode()
    assert (reply.status_code, Upload.objects.exists()) == (400, False)
    guessed = {"Question": "prompt=Question", "good": "chosen=good", "bad": "rejected=bad", "note": ""}
    assert chosen_fields(page) == guessed
    assert '<p class="help" id="map-2-example" dir="auto">An apple.</p>' in page
    form |= {"file": SimpleUploadedFile("rows.csv", content), "map": list(guessed.values())}
    reply = manager.post(f"{PAGE}import", form)
    if repeated == 1:
        page = reply.content.decode()
        assert "1 rows read: 1 judgments. Not kept: note (1 row)." in page
        assert 'value="prompt=Question, chosen=good, rejected=bad"' in page
    else:
        assert Upload.objects.get().options["columns"] == {"prompt": "Question", "chosen": "good", "rejected": "bad"}
    form |= {"file": SimpleUploadedFile("rows.csv", content), "map": ["prompt=Question", "prompt=good"]}
    reply = manager.post(f"{PAGE}import", form)
    assert (reply.status_code, "Each of them is held by one column." in reply.content.decode()) == (400, True)


def test_places_of_a_file_are_named_in_the_readers_language(tmp_path):
    with translation.override("zh-hans"):
        report = check_file(written(tmp_path, ROWS[0], {"prompt": ""}))
        item = tmp_path / "items.json"
        item.write_text(json.dumps([{"prompt": ""}]))
        places = [*report.errors, *check_file(item).errors]
    assert [place.partition(":")[0] for place in places] == ["第 2 行", "第 1 项"]


def test_columns_of_a_table_in_no_format_are_named_by_hand(cast, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(TABLE)
    call_command("import_data", "kindness", str(path), "--columns", "prompt=question,chosen=good,rejected=bad")
    assert Judgment.objects.get().task.prompt.question == "Name a fruit."
    with pytest.raises(CommandError, match="must be written like"):
        call_command("import_data", "kindness", str(path), "--columns", "prompt")


@pytest.mark.django_db
def test_a_large_file_is_checked_by_a_job(cast, manager):
    rows = b"".join(json.dumps({"prompt": f"{n} {'x' * 1_000}"}).encode() + b"\n" for n in range(2_200))
    form = {"file": SimpleUploadedFile("rows.jsonl", rows), "format": "auto", "check": "yes"}
    assert manager.post(f"{PAGE}import", form).status_code == 302
    uploads.run(Upload.objects.get().pk)
    assert Upload.objects.get().report["dry_run"] is True
    assert Prompt.objects.count() == 0


def test_rows_that_were_not_taken_go_after_a_week(cast, tmp_path, settings):
    report = import_file(project=cast.project, path=written(tmp_path, *ROWS), by=None)
    path = rejected_rows.path_of(cast.project, report.rejected)
    uploads.remove_forgotten(now=timezone.now())
    assert path.exists()
    os.utime(path, (time.time() - 8 * 86_400,) * 2)
    assert uploads.remove_forgotten(now=timezone.now()) == 1
    assert not path.exists()
