"""Check every file of a folder as an import would, write nothing, and print what would become of each."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.data.imports import ImportReport, import_file
from annotate.errors import Refused
from annotate.management.arguments import BAD_INPUT, add_project, project_named, refuse_repeated_flags
from annotate.models import Project

MOST_FILES = 10_000


class Command(BaseCommand):
    help = "Check every file of a folder as import_data --dry-run does, and print a table in Markdown."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument("folder", metavar="FOLDER", type=Path)
        parser.add_argument("--keep-tools", action="store_true", help="As of import_data.")

    def handle(self, *args: Any, **options: Any) -> None:
        project, folder = project_named(options["project"]), options["folder"]
        if not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.", returncode=BAD_INPUT)
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files or len(files) > MOST_FILES:
            raise CommandError(f"{folder} holds {len(files)} files; from 1 to {MOST_FILES} are checked.", returncode=2)
        self.stdout.write("| file | format | rows | not taken | report |\n| --- | --- | ---: | ---: | --- |")
        refused = 0
        for path in files:
            cells, is_refused = _checked(project, path, keep_tools=options["keep_tools"])
            refused += is_refused
            self.stdout.write("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        self.stdout.write(f"\n{len(files)} files, {refused} of them refused. Nothing was written.")


def _checked(project: Project, path: Path, *, keep_tools: bool) -> tuple[list[str], bool]:
    """The cells of a file's row, and whether it would be refused."""
    try:
        report = import_file(project=project, path=path, by=None, keep_tools=keep_tools, dry_run=True)
    except Refused as reason:
        return [path.name, "–", "–", "–", str(reason)], True
    return [path.name, report.format, str(report.read), str(report.rejected_rows), _said(report)], bool(report.errors)


def _said(report: ImportReport) -> str:
    return " ".join([report.summary, *(f"{error};" for error in report.errors[:3])])
