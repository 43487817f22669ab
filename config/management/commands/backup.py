"""`manage.py backup`: the database and the files that it names, while Hone runs."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.arguments import BAD_INPUT, refuse_repeated_flags
from annotate.management.sizes import in_bytes
from config.backups import backup
from config.backups.store import BackupError, BackupStore

FILES_BETWEEN_LINES = 500


class Command(BaseCommand):
    help = "Add a backup of the database, models, runs, snapshots and uploads to FOLDER. Unchanged files are kept once."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument(
            "folder", metavar="FOLDER", type=Path, help="made if it isn't there; not in the data folder"
        )
        parser.add_argument("--keep", type=int, metavar="N", help="afterwards remove all backups but the newest N")
        parser.add_argument("--without-checkpoints", action="store_true", help="runs in progress can't go on from them")
        parser.add_argument("--list", action="store_true", help="list the backups of FOLDER, and make none")

    def handle(self, *, folder: Path, keep: int | None, without_checkpoints: bool, **options: Any) -> None:
        if keep is not None and keep < 1:
            raise CommandError("--keep takes a number of at least 1: the newest backup stays.", returncode=BAD_INPUT)
        try:
            if options["list"]:
                self._list(BackupStore(folder))
            else:
                self._make(BackupStore(folder, create=True), keep=keep, checkpoints=not without_checkpoints)
        except BackupError as error:
            raise CommandError(str(error), returncode=BAD_INPUT) from None
        except OSError as error:
            raise CommandError(f"The backup can't be written: {error.strerror} ({error.filename}).") from None

    def _make(self, store: BackupStore, *, keep: int | None, checkpoints: bool) -> None:
        made = backup.make(store, checkpoints=checkpoints, progress=self._progress)
        one = made.backup
        self.stdout.write(
            f"Backup {one.name}: {len(one.files)} files and the database, {in_bytes(one.bytes)}, "
            f"{in_bytes(made.new_bytes)} of them new."
        )
        if made.gone:
            self.stdout.write(f"{made.gone} files were removed while they were being read, and are left out.")
        if keep is not None:
            removed, freed = store.keep(keep)
            self.stdout.write(f"{removed} older backups removed, {in_bytes(freed)} freed.")

    def _progress(self, files: int, new_bytes: int) -> None:
        if files and files % FILES_BETWEEN_LINES == 0:
            self.stdout.write(f"{files} files, {in_bytes(new_bytes)} new ...")

    def _list(self, store: BackupStore) -> None:
        for name in store.names():
            one = store.read(name)
            self.stdout.write(
                f"{name}  Hone {one.version}, {one.engine}, {len(one.files)} files, {in_bytes(one.bytes)}"
            )
