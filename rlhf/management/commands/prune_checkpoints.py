"""manage.py prune_checkpoints: remove checkpoints of runs that ended long ago, or only say which."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.arguments import refuse_repeated_flags
from annotate.management.sizes import in_bytes
from rlhf.management import arguments
from rlhf.runs.storage import retention


class Command(BaseCommand):
    help = "Remove the checkpoints of runs that ended long ago. Models, metrics and logs stay."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", nargs="?", help="slug of a project; all projects by default")
        parser.add_argument(
            "--days",
            type=int,
            default=retention.DEFAULT_DAYS,
            help="of runs that ended at least so many days ago (default: %(default)s)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if not 0 <= days <= retention.MOST_DAYS:
            raise CommandError(f"--days takes a number from 0 to {retention.MOST_DAYS}, not {days}.")
        project = arguments.project(options["project"]) if options["project"] else None
        found = retention.kept(project, days=days)
        for item in found:
            size = in_bytes(item.bytes)
            self.stdout.write(f"run {item.run.pk} of {item.run.project.slug} ({item.run.status}): {size}")
        if options["dry_run"]:
            total = in_bytes(sum(item.bytes for item in found))
            self.stdout.write(f"{total} would be freed; nothing was removed.")
            return
        freed = in_bytes(retention.remove(found, by=None))
        self.stdout.write(f"{freed} freed.")
