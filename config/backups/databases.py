"""The database as one file, taken while people work, and an empty database filled from it.

SQLite's own online backup copies in one read transaction: in WAL mode nobody who writes waits for it. PostgreSQL's
pg_dump reads one snapshot of the database as well.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import connection

from config.backups.store import BackupError

LONGEST_REASON = 500


def engine() -> str:
    """sqlite or postgresql."""
    return connection.vendor


def dump(target: Path) -> None:
    """Write the database to a file of its own."""
    settings = connection.settings_dict
    if engine() == "sqlite":
        source, copy = sqlite3.connect(settings["NAME"]), sqlite3.connect(target)
        try:
            source.backup(copy)
            # One file: the copy would otherwise ask its reader for a -wal beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
        finally:
            copy.close()
            source.close()
    else:
        _run("pg_dump", "--format=custom", "--no-owner", f"--file={target}", *_place(settings), settings=settings)


def is_empty() -> bool:
    """Whether nothing was ever created here."""
    return not connection.introspection.table_names()


def restore(source: Path) -> None:
    """Fill the empty database. `source` is used up."""
    settings = connection.settings_dict
    connection.close()
    if engine() == "sqlite":
        place = Path(settings["NAME"])
        for end in ("", "-wal", "-shm"):
            Path(f"{place}{end}").unlink(missing_ok=True)  # those of the empty one
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, place)
    else:
        options = ("--no-owner", "--exit-on-error", "--single-transaction")
        _run("pg_restore", *options, *_place(settings), str(source), settings=settings)


def _place(settings: Mapping[str, Any]) -> list[str]:
    found = [("host", settings["HOST"]), ("port", settings["PORT"]), ("username", settings["USER"])]
    return [f"--dbname={settings['NAME']}", *(f"--{name}={value}" for name, value in found if value)]


def _run(program: str, *arguments: str, settings: Mapping[str, Any]) -> None:
    """Raises BackupError with the program's last line. The password goes by the environment, where `ps` shows none."""
    if (found := shutil.which(program)) is None:
        raise BackupError(f"{program} isn't installed: it comes with PostgreSQL's client programs.")
    environment = os.environ | ({"PGPASSWORD": str(settings["PASSWORD"])} if settings["PASSWORD"] else {})
    ended = subprocess.run([found, *arguments], env=environment, capture_output=True, text=True, errors="replace")
    if ended.returncode:
        lines = ended.stderr.strip().split("\n") if ended.stderr.strip() else [f"exit status {ended.returncode}"]
        raise BackupError(f"{program} failed: {lines[-1][:LONGEST_REASON]}")
