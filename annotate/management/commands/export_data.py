"""Take a project's data away as a snapshot."""

import hashlib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.management.arguments import BAD_INPUT, add_project, project_named, refuse_repeated_flags
from annotate.models import JudgmentRevision, Prompt, Snapshot

REPEATED = {
    "--labeler": "Judged or written by this pseudonym",
    "--model": "With a response of this model",
    "--use-case": "Of this use case",
    "--in-language": "Of prompts in this language",
}


class Command(BaseCommand):
    help = "Freeze a project's data as a snapshot and copy it to PATH: a folder, or one file if PATH has a suffix."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument("--format", choices=list(EXPORTERS), required=True)
        parser.add_argument(
            "--out", metavar="PATH", required=True, help="Folder for all files, or a file for all rows."
        )
        parser.add_argument("--kind", choices=Snapshot.Kind.values, default=Snapshot.Kind.RANKINGS)
        parser.add_argument(
            "--split",
            choices=Prompt.Split.values,
            action="append",
            help="Take this side of the split alone; may be given twice. Every row names its side in any case.",
        )
        parser.add_argument("--comments", action="store_true", help="Labelers' comments and notes come along.")
        parser.add_argument("--after", metavar="TIME", help="Made from then on, such as 2026-11-22T08:00:00+00:00.")
        parser.add_argument("--before", metavar="TIME", help="Made before then.")
        parser.add_argument("--judged-by", choices=JudgmentRevision.Source.values, help="By people or by models alone.")
        for name, what in REPEATED.items():
            parser.add_argument(name, action="append", help=f"{what}; may be given several times.")
        parser.add_argument("--agreement", type=float, help="Least share of pairs on which a task's labelers agree.")
        parser.add_argument("--redact", action="store_true", help="Replace personal data in texts.")
        parser.add_argument("--licence", default="", help="What the card says of the licence.")
        parser.add_argument("--ties", choices=Snapshot.TiePolicy.values, default=Snapshot.TiePolicy.KEEP)
        parser.add_argument(
            "--aggregation",
            choices=Snapshot.Aggregation.values,
            default=Snapshot.Aggregation.RAW,
            help="Of rankings: each judgment (raw), weighted by its labeler's reliability, or one consensus per task.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        filters: dict[str, Any] = {"splits": sorted(set(options["split"]))} if options["split"] else {}
        filters |= {name: True for name in ("comments", "redact") if options[name]}
        named = {"after": options["after"], "before": options["before"], "agreement": options["agreement"]}
        named |= {"labelers": options["labeler"], "models": options["model"], "languages": options["in_language"]}
        named |= {"use_cases": options["use_case"], "licence": options["licence"]}
        named["sources"] = [options["judged_by"]] if options["judged_by"] else None
        filters |= {name: value for name, value in named.items() if value not in (None, "")}
        try:
            snapshot = snapshots.freeze(
                project=project,
                kind=options["kind"],
                format=options["format"],
                tie_policy=options["ties"],
                aggregation=options["aggregation"],
                filters=filters,
            )
            copied = snapshots.copy_out(snapshot, Path(options["out"]))
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        except OSError as error:
            raise CommandError(f"{options['out']} can't be written: {error.strerror}.", returncode=BAD_INPUT) from None
        for path in copied:
            self.stdout.write(str(path))
        if len(copied) == 1:
            # The hash that sha256sum says of the file; of a folder, manifest.json has each file's.
            with copied[0].open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.stdout.write(f"{snapshot.rows} rows, snapshot {snapshot.pk}, SHA-256 {sha256}")
        else:
            self.stdout.write(f"{snapshot.rows} rows, snapshot {snapshot.pk}, SHA-256 of its files {snapshot.sha256}")
