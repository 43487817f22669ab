"""Import prompts, demonstrations, rankings or responses from a file."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.data import rejected_rows
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.formats import IMPORTERS, column_pairs
from annotate.management.arguments import BAD_INPUT, add_project, project_named, refuse_repeated_flags


def whole_number(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ArgumentTypeError("must be a whole number from 1 on")
    return int(value)


def pairs(value: str) -> dict[str, str]:
    try:
        return column_pairs(value)
    except ValueError:
        raise ArgumentTypeError("must be written like prompt=question,response=reply") from None


class Command(BaseCommand):
    help = (
        "Import prompts, demonstrations, rankings or responses from a file: all of it, or nothing if a row is broken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument("file", metavar="FILE")
        parser.add_argument("--format", choices=["auto", *IMPORTERS], default="auto")
        parser.add_argument("--language", default="", help="Take only rows in this language, or that don't say theirs.")
        parser.add_argument("--limit", type=whole_number, help="Take at most so many rows.")
        parser.add_argument(
            "--keep-tools", action="store_true", help="Keep turns of tools as text; else rows with them are left out."
        )

        parser.add_argument(
            "--columns",
            metavar="FIELD=COLUMN,...",
            type=pairs,
            help="For a file in no format: which column holds prompt, response, chosen, rejected, ...",
        )
        parser.add_argument("--dry-run", action="store_true", help="Check every row and write none.")

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        try:
            report = import_file(
                project=project,
                path=options["file"],
                by=None,
                format=options["format"],
                language=options["language"],
                limit=options["limit"],
                keep_tools=options["keep_tools"],
                columns=options["columns"],
                dry_run=options["dry_run"],
            )
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        if report.rejected:
            path = rejected_rows.path_of(project, report.rejected)
            self.stderr.write(f"The {report.rejected_rows} rows that were not taken are in {path} for a week.")
        if report.errors:
            more = f"\n  and {report.more_errors} more" if report.more_errors else ""
            broken = "".join(f"\n  {error}" for error in report.errors)
            raise CommandError(report.summary + broken + more, returncode=BAD_INPUT)
        self.stdout.write(report.summary)
