"""`manage.py prepare`: what must be done once before a new version's processes start."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Migrates the database and collects the static files."
    # The checks include one for unapplied migrations, which this command is about to apply.
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
