"""manage.py create_demo: a project with people, prompts and responses to rank at once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotate.demo.demo_project import LABELERS, MANAGER, create
from annotate.errors import Refused


class Command(BaseCommand):
    help = "Makes the demo project with a manager and two labelers, and prints their one-time passwords, once."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = create()
        except Refused as error:
            raise CommandError(str(error)) from None
        if not made.passwords:
            self.stdout.write(
                f"The demo project is there already ({made.project.tasks.count()} tasks); nothing was changed."
            )
            return
        prompts, tasks = made.project.prompts.count(), made.project.tasks.count()
        roles = {MANAGER: "manages the project and the installation"} | dict.fromkeys(LABELERS, "ranks responses")
        lines = [f"    {name:<10}  {password}    {roles[name]}" for name, password in made.passwords.items()]
        days = settings.HONE_ONE_TIME_DAYS
        self.stdout.write(
            "\n".join(
                [
                    "",
                    f"The demo project has {prompts} prompts and {tasks} tasks to rank.",
                    f"One-time passwords, shown only now (choose your own at the first sign-in, within {days} days):",
                    "",
                    *lines,
                    "",
                ]
            )
        )
