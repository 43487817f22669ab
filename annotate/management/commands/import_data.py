"""Import prompts, demonstrations, rankings or responses from a file, a folder, or a data set of a Hub."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.data import rejected_rows, uploads
from annotate.data.hub import hub_downloads
from annotate.data.hub.hub_files import HubSource
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


@contextmanager
def _source(file: str | None, repository: str, parts: dict[str, str]) -> Iterator[Path]:
    """The file or folder, or a folder of what is fetched. Raises Refused."""
    if file:
        yield Path(file)
        return
    source = HubSource.checked(repository=repository, **parts)
    scratch = Path(settings.HONE_DATA) / uploads.FOLDER
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hub_downloads.fetched(source, scratch, heartbeat=lambda fetched, total: None) as folder:
        yield folder


class Command(BaseCommand):
    help = (
        "Import prompts, demonstrations, rankings or responses from a file, a folder or a Hub: all of it, or nothing "
        "if a row is broken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument(
            "file", metavar="FILE", nargs="?", help="A file, a folder that `datasets` saved, or a zip of one."
        )
        parser.add_argument("--hub", metavar="OWNER/NAME", default="", help="In place of FILE: a data set of a Hub.")
        parser.add_argument("--config", default="", help="Configuration of the Hub's data set.")
        parser.add_argument("--split", default="", help="Split of the Hub's data set.")
        parser.add_argument("--revision", default="", help="Branch, tag or commit; the newest otherwise.")
        parser.add_argument(
            "--token-variable", default="", help="Environment variable with the Hub's token, such as HF_TOKEN."
        )
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
        hub = {name: options[name] for name in ("config", "split", "revision", "token_variable")}
        if bool(options["file"]) == bool(options["hub"]) or (options["file"] and any(hub.values())):
            raise CommandError("Give a FILE, or --hub OWNER/NAME with what belongs to it.", returncode=BAD_INPUT)
        try:
            with _source(options["file"], options["hub"], hub) as given:
                report = import_file(
                    project=project,
                    path=given,
                    by=None,
                    format=options["format"],
                    language=options["language"],
                    limit=options["limit"],
                    keep_tools=options["keep_tools"],
                    columns=options["columns"],
                    dry_run=options["dry_run"],
                    name=options["hub"],
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
