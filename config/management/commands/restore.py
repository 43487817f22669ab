"""`manage.py restore`: a backup put back into an empty data folder and an empty database."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.arguments import BAD_INPUT, refuse_repeated_flags
from config.backups import restore
from config.backups.store import BackupError, BackupStore

FILES_BETWEEN_LINES = 500


class Command(BaseCommand):
    help = "Restore a backup of FOLDER into the empty data folder and database that the settings name, and verify it."
    # The checks include one for unapplied migrations: the database is empty.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("folder", metavar="FOLDER", type=Path)
        parser.add_argument("--backup", metavar="NAME", help="the newest one by default (`backup --list FOLDER`)")
        parser.add_argument("--check", action="store_true", help="read every file of the backup, and restore nothing")

    def handle(self, *, folder: Path, backup: str | None, check: bool, **options: Any) -> None:
        try:
            store = BackupStore(folder)
            names = store.names()
            if not names:
                raise BackupError(f"{folder} holds no complete backup.")
            one = store.read(names[-1] if backup is None else backup)
            if check:
                restore.check(store, one)
                self.stdout.write(f"Backup {one.name}: all of its {len(one.files) + 1} files are what was stored.")
                return
            verified = restore.restore(store, one, progress=self._progress)
        except BackupError as error:
            raise CommandError(str(error), returncode=BAD_INPUT) from None
        except OSError as error:
            raise CommandError(f"The backup can't be restored: {error.strerror} ({error.filename}).") from None
        self.stdout.write(f"Backup {one.name} is restored: {len(one.files)} files and the database.")
        if verified.later:
            self.stdout.write(verified.later)
            return
        for problem in verified.problems:
            self.stderr.write(problem)
        if verified.problems:
            raise CommandError(f"Not everything is what its hash says: {len(verified.problems)} problems.")
        if verified.fetched:
            self.stdout.write(f"{verified.fetched} of them were not in the backup, and came from the storage.")
        self.stdout.write(
            f"Verified by their hashes: {verified.snapshots} snapshots, {verified.models} model versions, "
            f"{verified.audit_events} events of the audit log."
        )

    def _progress(self, files: int) -> None:
        if files % FILES_BETWEEN_LINES == 0:
            self.stdout.write(f"{files} files ...")
