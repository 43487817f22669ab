"""The database of a test process: a copy of one that was migrated once for the migrations of this tree.

To run every migration takes many seconds of processor time, in each process of each run. The result is kept in pytest's
cache folder under a digest of what it is made from, so a changed migration makes another one.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import psycopg
from django.apps import apps

from tests.databases.postgresql import find_program

ROOT = Path(__file__).resolve().parents[2]
MOST_KEPT = 6


def digest() -> str:
    """Of every migration, and of what else writes to a database that is being migrated: models and their receivers."""
    found = hashlib.sha256(django.__version__.encode())
    for folder in sorted(Path(config.path) for config in apps.get_app_configs()):
        within = folder if ROOT in folder.parents and ".venv" not in folder.parts else folder / "migrations"
        for path in sorted(within.rglob("*.py")):
            if {"migrations", "models"} & {*path.relative_to(folder).parts, path.stem} or path.name == "apps.py":
                found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:20]


def prepare(values: dict[str, Any], *, cache: Path) -> None:
    """Make the test database that these settings name."""
    if values["ENGINE"].endswith("sqlite3"):
        copy_sqlite(Path(values["TEST"]["NAME"]), cache=cache)
    else:
        name = values["TEST"]["NAME"] or f"test_{values['NAME']}"
        dump = migrated(cache, "sql", migrate_postgresql)
        create_postgresql(name)
        run_postgresql("psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", str(dump), name=name)


def copy_sqlite(path: Path, *, cache: Path) -> None:
    """A migrated SQLite database at this path, whichever database is under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(migrated(cache, "sqlite3", migrate_sqlite), path)


def migrated(cache: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """What is kept for the migrations of this tree; the first process that asks makes it, others wait."""
    kept = cache / f"{digest()}.{suffix}"
    with locked(cache / "lock"):
        if not kept.exists():
            make(kept)
        kept.touch()
        for old in sorted(cache.glob("*.sql*"), key=lambda path: -path.stat().st_mtime)[MOST_KEPT:]:
            old.unlink()
    return kept


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def migrate(url: str) -> None:
    """In a process of its own, whose connections are gone afterwards."""
    command = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)


def migrate_sqlite(kept: Path) -> None:
    unfinished = kept.with_suffix(".unfinished")
    for name in (unfinished.name, f"{unfinished.name}-wal", f"{unfinished.name}-shm"):
        unfinished.with_name(name).unlink(missing_ok=True)
    migrate(f"sqlite:///{unfinished}")
    connection = sqlite3.connect(unfinished)
    connection.execute("PRAGMA journal_mode=DELETE")  # all of it in the one file that is copied
    connection.close()
    unfinished.rename(kept)


def migrate_postgresql(kept: Path) -> None:
    create_postgresql("migrated")
    migrate(postgresql_url("migrated"))
    unfinished = kept.with_suffix(".unfinished")
    run_postgresql("pg_dump", "--no-owner", "--file", str(unfinished), name="migrated")
    unfinished.rename(kept)


def postgresql_url(name: str) -> str:
    return os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"


def create_postgresql(name: str) -> None:
    with psycopg.connect(postgresql_url("postgres").replace("postgres://", "postgresql://"), autocommit=True) as server:
        server.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))


def run_postgresql(program: str, *arguments: str, name: str) -> None:
    found = find_program(program)
    assert found is not None
    url = postgresql_url(name).replace("postgres://", "postgresql://")
    subprocess.run([found, *arguments, "--dbname", url], check=True, stdout=subprocess.DEVNULL)
