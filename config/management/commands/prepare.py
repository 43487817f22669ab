"""`manage.py prepare`: what must be done once before a new version's processes start."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from config.data_folder.private_files import tighten


class Command(BaseCommand):
    help = "Closes the data folder to others, migrates the database and collects the static files."
    # The checks include one for unapplied migrations, which this command is about to apply.
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        database = settings.DATABASES["default"]
        outside = [Path(f"{database['NAME']}{end}") for end in ("", "-wal", "-shm")]
        tighten(settings.HONE_DATA, *(outside if str(database["ENGINE"]).endswith("sqlite3") else []))
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
