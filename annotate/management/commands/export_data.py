"""Take a project's data away as a snapshot."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import snapshots
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.management.arguments import add_project, project_named
from annotate.models import Snapshot


class Command(BaseCommand):
    help = "Freeze a project's data as a snapshot and copy it to PATH: a folder, or one file if PATH has a suffix."

    def add_arguments(self, parser: CommandParser) -> None:
        add_project(parser)
        parser.add_argument("--format", choices=list(EXPORTERS), required=True)
        parser.add_argument(
            "--out", metavar="PATH", required=True, help="Folder for all files, or a file for all rows."
        )
        parser.add_argument("--kind", choices=Snapshot.Kind.values, default=Snapshot.Kind.RANKINGS)
        parser.add_argument("--ties", choices=Snapshot.TiePolicy.values, default=Snapshot.TiePolicy.KEEP)

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        try:
            snapshot = snapshots.freeze(
                project=project, kind=options["kind"], format=options["format"], tie_policy=options["ties"]
            )
            copied = snapshots.copy_out(snapshot, Path(options["out"]))
        except Refused as reason:
            raise CommandError(str(reason)) from None
        except OSError as error:
            raise CommandError(f"{options['out']} can't be written: {error.strerror}.") from None
        for path in copied:
            self.stdout.write(str(path))
        self.stdout.write(f"{snapshot.rows} rows, snapshot {snapshot.pk}, SHA-256 {snapshot.sha256}")
