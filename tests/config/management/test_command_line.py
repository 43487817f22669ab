"""Commands against a database that isn't as it should be: one sentence, exit status 2, nothing changed."""

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMANDS = [
    ("import_data", "kindness", "prompts.jsonl"),
    ("export_data", "kindness", "rankings"),
    ("simulate_labelers", "kindness"),
    ("create_demo",),
    ("train", "kindness", "sft"),
    ("sample", "kindness"),
    ("loop", "kindness"),
    ("active_learning", "kindness"),
]


def manage(data: Path, *arguments: str, umask: int = 0o022, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HONE_DATA": str(data), **variables},
        capture_output=True,
        text=True,
        umask=umask,
    )


def refuses(result: subprocess.CompletedProcess[str], pattern: str) -> None:
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert re.fullmatch(pattern + r"\n", result.stderr), result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_on_a_fresh_data_folder(tmp_path: Path, command: tuple[str, ...]) -> None:
    refuses(manage(tmp_path, *command), r"Hone: The database isn't prepared .*Run `manage\.py prepare` first.*")


def test_a_command_of_django_on_a_fresh_data_folder(tmp_path: Path) -> None:
    result = manage(tmp_path, "createsuperuser", "--username", "ann", "--email", "", "--noinput")
    assert result.returncode == 2
    assert result.stderr == (
        "Hone: The database isn't prepared (no such table: annotate_user). "
        "Run `manage.py prepare` first, then this again.\n"
    )


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path, migrated_sqlite: Callable[[Path], None]) -> None:
    migrated_sqlite(tmp_path)
    with sqlite3.connect(tmp_path / "hone.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('annotate', '9999_later', '2030-01-01')"
        )
    database.close()
    for command in (("prepare",), ("serve",), ("sample", "kindness")):
        refuses(
            manage(tmp_path, *command),
            r"Hone: The database was made by a newer version of Hone \(it has annotate\.9999_later\)\. .*",
        )


def test_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    result = manage(tmp_path, "sample", "kindness", DATABASE_URL="postgres://ann:hunter2@127.0.0.1:1/hone")
    refuses(result, r"Hone: The database 127\.0\.0\.1:1 doesn't respond as expected: .*")
    assert "hunter2" not in result.stderr


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "hone.sqlite3").write_bytes(b"x" * 5000)
    refuses(manage(tmp_path, "sample", "kindness"), r"Hone: The database .*hone\.sqlite3 .*: file is not a database\.")


@pytest.mark.parametrize(("name", "reason"), [("secret_key", "Is a directory"), ("static", "File exists")])
def test_a_data_folder_that_holds_something_else(tmp_path: Path, name: str, reason: str) -> None:
    if name == "secret_key":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    refuses(manage(tmp_path, "check"), rf"Hone can't start: .*{name}.* \({reason}\)\.")


def open_to_others(data: Path) -> set[str]:
    return {
        str(path.relative_to(data))
        for path in [data, *data.rglob("*")]
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    }


def test_what_a_command_makes_is_its_owners_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert manage(data, "prepare").returncode == 0
    assert {"hone.sqlite3", "secret_key", "static"} <= {path.name for path in data.iterdir()}
    assert open_to_others(data) == set()


def test_what_was_open_is_closed_at_the_start(tmp_path: Path, migrated_sqlite: Callable[[Path], None]) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "runs" / "7").mkdir(parents=True)
    (data / "runs" / "7" / "result.json").write_text("{}")
    migrated_sqlite(data)
    (data / "notes.txt").write_text("somebody's own")
    outside.write_text("")
    (data / "models").symlink_to(outside)
    for path in [data, *data.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    assert manage(data, "prepare").returncode == 0
    assert open_to_others(data) == {"notes.txt"}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666
    assert stat.S_IMODE((data / "runs" / "7").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "hone.sqlite3").stat().st_mode) == 0o600
