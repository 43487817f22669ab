"""Backups: made while people work, put back on an empty machine, equal to the byte; and what they refuse."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from annotate.artefacts import folders
from annotate.data import snapshots
from annotate.labeling import queue
from annotate.models import Project, Snapshot
from annotate.people.audit import chain
from config.backups import backup, restore
from config.backups.store import BackupError, BackupStore
from models_core.contract.runs.run_folder import folder_sha256
from rlhf.models import ModelVersion
from tests.conftest import ROOT
from tests.databases.migrated_database import create_postgresql, postgresql_url
from tests.factories.cast import judge, make_cast, make_comparison, response_ids
from tests.harness.s3_server import s3_client, shared_bucket

__all__ = ["s3_client", "shared_bucket"]

SECRET = "a key of more than thirty-two characters"


@pytest.fixture
def data(settings, tmp_path) -> Path:
    folder = tmp_path / "data"
    for name in ("models/base", "runs/1/model", "runs/1/checkpoints/2", "uploads", "corpora", "logs"):
        (folder / name).mkdir(parents=True)
    (folder / "secret_key").write_text(SECRET)
    (folder / "models/base/config.json").write_text("{}")
    (folder / "runs/1/model/model.safetensors").write_bytes(os.urandom(3_000_000))
    (folder / "runs/1/model/config.json").write_text('{"a": 1}')
    (folder / "runs/1/checkpoints/2/state.safetensors").write_bytes(b"state")
    (folder / "corpora/text.txt").write_text("to pretrain on")
    (folder / "logs/web.log").write_text("not backed up")
    (folder / "runs/1/away").symlink_to("/etc/hostname")
    settings.HONE_DATA = folder
    return folder


@pytest.fixture
def filled(transactional_db, data):
    """A project with judgments, a snapshot, a model version and an audit log in its chain."""
    cast = make_cast()
    for number in range(5):
        task = make_comparison(cast.project, f"Question {number}", ("Good.", "Fine."))
        judge(queue.claim_next(labeler=cast.labeler, project=cast.project), [[key] for key in response_ids(task)])
    snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)
    ModelVersion.objects.create(
        project=cast.project, kind="sft", number=1, folder="runs/1/model", sha256=folder_sha256(data / "runs/1/model")
    )
    chain.link_new()
    return cast


def empty_place(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine on which nothing was installed yet."""
    folder = tmp_path / "other"
    variables = {"HONE_DATA": str(folder)}
    if connection.vendor == "postgresql":
        create_postgresql(tmp_path.name.replace("-", "_"))
        variables["DATABASE_URL"] = postgresql_url(tmp_path.name.replace("-", "_"))
    return variables


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_what_the_storage_alone_has_is_fetched_and_verified(filled, data, shared_bucket, settings, tmp_path):
    settings.HONE_DATA = data
    folders.publish("runs/1/model")
    shutil.rmtree(data / "runs/1/model")
    (data / "runs/2/run/.model.fetching").mkdir(parents=True)
    (data / "runs/2/run/.model.fetching/half").write_bytes(b"ha")
    made = backup.make(BackupStore(tmp_path / "backups", create=True)).backup
    assert [name for name in made.files if "model/" in name or "fetching" in name] == []
    version = ModelVersion.objects.get()
    found = restore.verify(made)
    assert (found.problems, found.models, found.fetched) == ([], 1, 1)
    assert folder_sha256(data / "runs/1/model") == version.sha256
    shutil.rmtree(data / "runs/1/model")
    settings.HONE_ARTEFACTS = "s3://no-such-bucket"
    # Of the snapshot too, whose files are here: nothing says yet that they are all there.
    _snapshot, problem = restore.verify(made).problems
    assert problem.startswith(f"Model version {version.pk}: The storage s3://no-such-bucket has no bucket")


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    found = [path for name in names for path in (folder / name).rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_everything_is_there_again_on_an_empty_machine(filled, data, tmp_path, capsys):
    call_command("backup", str(tmp_path / "backups"))
    assert capsys.readouterr().out.startswith("Backup 20")
    place = empty_place(tmp_path)
    result = manage("restore", str(tmp_path / "backups"), **place)
    assert result.returncode == 0, result.stderr
    events = chain.head().position
    assert result.stdout.endswith(
        f"Verified by their hashes: 1 snapshots, 1 model versions, {events} events of the audit log.\n"
    )
    other = Path(place["HONE_DATA"])
    kept = ("models", "runs", "snapshots", "uploads", "corpora")
    assert contents(other, *kept) == contents(data, *kept) != {}
    assert (other / "secret_key").read_text() == SECRET
    assert (other / "secret_key").stat().st_mode & 0o077 == 0
    assert not (other / "logs/web.log").exists()
    assert not (other / "runs/1/away").exists()
    # Every row, in every table, as Django writes them.
    tables = ("annotate", "rlhf", "config", "auth", "sessions", "mfa", "--format=json")
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    call_command("dumpdata", *tables, output=str(before))
    assert manage("dumpdata", *tables, "--output", str(after), **place).returncode == 0
    assert len(json.loads(before.read_text())) > 50
    assert json.loads(after.read_text()) == json.loads(before.read_text())
    # A second restore would overwrite it.
    again = manage("restore", str(tmp_path / "backups"), **place)
    assert (again.returncode, again.stdout) == (2, "")
    assert "A backup is restored into an empty data folder." in again.stderr


def test_unchanged_files_are_neither_read_nor_kept_twice(filled, data, tmp_path, monkeypatch):
    store = BackupStore(tmp_path / "backups", create=True)
    first = backup.make(store)
    assert first.new_bytes > 3_000_000
    (data / "runs/1/model/config.json").write_text('{"a": 2}')
    (data / "uploads/same").write_text('{"a": 2}')
    added = []
    monkeypatch.setattr(store, "add", lambda path, add=store.add: added.append(path.name) or add(path))
    second = backup.make(store)
    assert added == ["database", "config.json", "same"]
    assert second.new_bytes == second.backup.database.bytes + 2 * len('{"a": 2}')
    assert second.backup.files["uploads/same"].sha256 == second.backup.files["runs/1/model/config.json"].sha256
    assert store.names() == [first.backup.name, second.backup.name]
    restore.check(store, store.read(first.backup.name))
    restore.check(store, store.read(second.backup.name))


def test_only_the_newest_are_kept_and_each_of_them_is_whole(filled, data, tmp_path, capsys):
    folder = tmp_path / "backups"
    for number in range(3):
        (data / "uploads/file").write_text(f"content {number}")
        call_command("backup", str(folder), "--keep", "2")
    store = BackupStore(folder)
    assert len(store.names()) == 2
    contents_kept = {path.read_bytes() for path in (folder / "files").glob("*/*")}
    assert b"content 0" not in contents_kept
    assert {b"content 1", b"content 2"} <= contents_kept
    for name in store.names():
        restore.check(store, store.read(name))
    assert "1 older backups removed" in capsys.readouterr().out
    call_command("backup", str(folder), "--list")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_checkpoints_are_left_out_where_one_says_so(filled, data, tmp_path):
    store = BackupStore(tmp_path / "backups", create=True)
    assert "runs/1/checkpoints/2/state.safetensors" in backup.make(store).backup.files
    assert not [name for name in backup.make(store, checkpoints=False).backup.files if "checkpoints" in name]


def test_a_database_that_is_written_meanwhile_is_copied_at_one_moment(filled, data, tmp_path):
    """Pairs of projects are committed together: a copy holds both or neither of each."""
    begun, ended = threading.Event(), threading.Event()

    def write():
        from django.db import transaction

        for number in range(10_000):
            with transaction.atomic():
                for half in ("left", "right"):
                    Project.objects.create(slug=f"{half}-{number}", name="Pair")
            begun.set()
            if ended.is_set():
                break
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    try:
        made = backup.make(BackupStore(tmp_path / "backups", create=True)).backup
    finally:
        ended.set()
        writer.join()
    place = empty_place(tmp_path)
    assert manage("restore", str(tmp_path / "backups"), **place).returncode == 0
    out = tmp_path / "projects.json"
    manage("dumpdata", "annotate.project", "--output", str(out), **place)
    slugs = {row["fields"]["slug"] for row in json.loads(out.read_text())}
    left = {slug.removeprefix("left-") for slug in slugs if slug.startswith("left-")}
    assert made.engine == connection.vendor
    assert left == {slug.removeprefix("right-") for slug in slugs if slug.startswith("right-")} != set()


def test_what_goes_while_it_is_read_is_left_out_and_said(filled, data, tmp_path, monkeypatch, capsys):
    (data / "uploads/going").write_text("x")
    files = backup._files

    def going(*arguments, **options):
        for name, path in files(*arguments, **options):
            if name == "uploads/going":
                path.unlink()
            yield name, path

    monkeypatch.setattr(backup, "_files", going)
    call_command("backup", str(tmp_path / "backups"))
    assert "1 files were removed while they were being read, and are left out." in capsys.readouterr().out


class TestRefusals:
    """Each is one sentence, and changes nothing."""

    def refused(self, *arguments: str) -> str:
        with pytest.raises(CommandError) as refusal:
            call_command(*arguments)
        assert refusal.value.returncode == 2
        return str(refusal.value)

    def test_a_folder_of_something_else(self, db, data, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos/a.jpg").write_bytes(b"x")
        assert self.refused("backup", str(tmp_path / "photos")).endswith("photos holds no backups of Hone.")
        assert self.refused("restore", str(tmp_path / "photos")).endswith("photos holds no backups of Hone.")
        assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]

    def test_the_data_folder_itself(self, db, data):
        assert "would be lost with it" in self.refused("backup", str(data / "backups"))

    @pytest.mark.parametrize("keep", ["0", "-1"])
    def test_keeping_none(self, db, data, tmp_path, keep):
        assert "at least 1" in self.refused("backup", str(tmp_path / "backups"), "--keep", keep)
        assert not (tmp_path / "backups").exists()

    def test_no_backup_yet_and_one_that_is_not_there(self, db, data, tmp_path):
        BackupStore(tmp_path / "backups", create=True)
        assert "holds no complete backup" in self.refused("restore", str(tmp_path / "backups"))
        backup.make(BackupStore(tmp_path / "backups"))
        assert "There is no backup x" in self.refused("restore", str(tmp_path / "backups"), "--backup", "x")

    def test_another_one_under_way(self, db, data, tmp_path):
        store = BackupStore(tmp_path / "backups", create=True)
        with store.lock():
            assert "Another backup" in self.refused("backup", str(tmp_path / "backups"))

    @pytest.mark.parametrize("damage", ["altered", "missing"])
    def test_a_damaged_file(self, db, data, tmp_path, damage):
        store = BackupStore(tmp_path / "backups", create=True)
        made = backup.make(store).backup
        place = store.place(made.files["runs/1/model/config.json"].sha256)
        place.write_text('{"a": 3}') if damage == "altered" else place.unlink()
        sentence = {"altered": "isn't what was stored", "missing": "lacks the file"}[damage]
        assert sentence in self.refused("restore", str(tmp_path / "backups"), "--check")
        result = manage("restore", str(tmp_path / "backups"), HONE_DATA=str(tmp_path / "other"))
        if made.engine == "sqlite":
            assert result.returncode == 2
            assert sentence in result.stderr
        assert not {path.name for path in (tmp_path / "other").iterdir()} & {"models", "runs", "uploads", ".restoring"}

    @pytest.mark.parametrize("name", ["../evil", "/etc/evil", "runs/../../evil", ""])
    def test_a_list_that_leads_out_of_the_data_folder(self, db, data, tmp_path, name):
        store = BackupStore(tmp_path / "backups", create=True)
        made = backup.make(store).backup
        path = store.folder / "backups" / f"{made.name}.json"
        values = json.loads(path.read_text())
        values["files"][name] = values["files"]["secret_key"]
        path.write_text(json.dumps(values))
        assert "is no path below the data folder" in self.refused("restore", str(store.folder), "--check")

    @pytest.mark.parametrize("written", ["", "[]", "{}", '{"name": 1}', "[" * 100_000, "\ud800"])
    def test_a_list_that_cannot_be_read(self, db, data, tmp_path, written):
        store = BackupStore(tmp_path / "backups", create=True)
        (store.folder / "backups" / "x.json").write_bytes(written.encode("utf-8", "surrogatepass"))
        assert "can't be read" in self.refused("restore", str(store.folder))

    def test_a_database_of_another_kind(self, db, data, tmp_path, monkeypatch):
        store = BackupStore(tmp_path / "backups", create=True)
        made = backup.make(store).backup
        made.engine = "other"
        with pytest.raises(BackupError, match="of the kind other"):
            restore.restore(store, made)

    def test_while_hone_runs(self, db, data, tmp_path):
        from config.data_folder.data_lock import data_lock

        store = BackupStore(tmp_path / "backups", create=True)
        made = backup.make(store).backup
        with data_lock(data, owner="http://127.0.0.1:8000"), pytest.raises(BackupError, match="Stop it first"):
            restore.restore(store, made)


def test_a_backup_that_was_killed_leaves_nothing_that_the_next_one_minds(db, data, tmp_path):
    store = BackupStore(tmp_path / "backups", create=True)
    (store.folder / "files" / ".draft-abc").write_bytes(b"half")
    (store.folder / ".database-abc").mkdir()
    (store.folder / ".database-abc" / "database").write_bytes(b"half")
    backup.make(store)
    assert not list(store.folder.rglob(".d*"))


def test_a_full_disk_leaves_the_backups_before_it_as_they_were(filled, data, tmp_path, monkeypatch):
    store = BackupStore(tmp_path / "backups", create=True)
    first = backup.make(store).backup
    (data / "uploads/new").write_bytes(b"x" * 1000)

    def full(descriptor):
        raise OSError(28, "No space left on device", "a file")

    monkeypatch.setattr("config.backups.store.os.fsync", full)
    with pytest.raises(CommandError, match="No space left on device"):
        call_command("backup", str(store.folder))
    monkeypatch.undo()
    assert store.names() == [first.name]
    assert not list((store.folder / "files").glob(".draft-*"))
    restore.check(store, store.read(first.name))


def test_names_that_are_no_text_are_kept(db, data, tmp_path):
    path = os.fsencode(data / "uploads") + b"/\xff\xfe name"
    Path(os.fsdecode(path)).write_text("bytes")
    store = BackupStore(tmp_path / "backups", create=True)
    made = store.read(backup.make(store).backup.name)
    assert os.fsdecode(b"uploads/\xff\xfe name") in made.files


def test_sqlite_is_copied_into_one_file_that_is_sound(filled, data, tmp_path):
    if connection.vendor != "sqlite":
        pytest.skip("the copy of SQLite is a database by itself; PostgreSQL's is pg_dump's own format")
    store = BackupStore(tmp_path / "backups", create=True)
    made = backup.make(store).backup
    copy = sqlite3.connect(f"file:{store.place(made.database.sha256)}?mode=ro", uri=True)
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert copy.execute("SELECT count(*) FROM annotate_snapshot").fetchone() == (Snapshot.objects.count(),)
    copy.close()
