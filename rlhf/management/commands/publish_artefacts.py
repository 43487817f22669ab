"""manage.py publish_artefacts: try the storage of HONE_ARTEFACTS, and publish what the data folder held before it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.artefacts import folders
from annotate.artefacts.bucket import StorageFault
from annotate.management.arguments import refuse_repeated_flags
from annotate.management.sizes import in_bytes
from rlhf.model_registry import removal
from rlhf.runs.storage import earlier_folders


class Command(BaseCommand):
    help = (
        "Try the storage of HONE_ARTEFACTS, then publish the snapshots, models and runs of this host's data folder "
        "that it does not have, but for runs at work, which publish themselves. It can be stopped and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("--check", action="store_true", help="only try the storage")
        parser.add_argument(
            "--clean", action="store_true", help="only remove this host's copies of models that were deleted elsewhere"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be published, and publish nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if not folders.is_on():
            raise CommandError("HONE_ARTEFACTS names no storage: all hosts share the data folder itself.")
        if options["clean"]:
            self.stdout.write(f"{in_bytes(removal.remove_copies())} of deleted models removed from this host.")
            return
        try:
            folders.probe()
            self.stdout.write(f"{settings.HONE_ARTEFACTS} can be written, read, listed and deleted.")
            if not options["check"]:
                self._publish(only_say=options["dry_run"])
        except StorageFault as fault:
            raise CommandError(str(fault)) from None

    def _publish(self, *, only_say: bool) -> None:
        count = total = 0
        for folder in earlier_folders.unpublished():
            size = folder.bytes
            if only_say or earlier_folders.publish(folder):
                self.stdout.write(f"{folder.name}: {in_bytes(size)}")
                count, total = count + 1, total + size
        done = "would be published" if only_say else "published"
        self.stdout.write(f"{count} folders {done}, {in_bytes(total)}.")
