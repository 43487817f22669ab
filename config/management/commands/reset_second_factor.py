"""`manage.py reset_second_factor NAME`: for somebody who has lost both, where no administrator can sign in."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotate.models import User
from config.security.second_factor import rules


class Command(BaseCommand):
    help = "Turns a person's two-step sign-in off and signs them out everywhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="NAME")

    def handle(self, *, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no account {username!r}.")
        if not rules.reset(user=user, by=None):
            raise CommandError(f"{username} has no two-step sign-in.")
        self.stdout.write(f"Two-step sign-in of {username} is off. They are signed out everywhere.")
