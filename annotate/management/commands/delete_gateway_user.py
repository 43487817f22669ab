"""Delete what the gateway kept of a user of the model, on request."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import BAD_INPUT, refuse_repeated_flags
from annotate.models import Project
from annotate.people.deletion import gateway_users


class Command(BaseCommand):
    help = "Delete the conversations and feedback that a project's gateway kept of a user. It can't be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", metavar="PROJECT", help="Its name in addresses.")
        parser.add_argument("user", metavar="USER", help="As the program named them: `user` or `safety_identifier`.")
        parser.add_argument(
            "--confirm",
            metavar="USER",
            help="The user again. Without it, only say what there is and delete nothing.",
        )

    def handle(self, *, project: str, user: str, confirm: str | None, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project {project!r}.", returncode=BAD_INPUT)
        if confirm not in (None, user):
            raise CommandError(f"--confirm says {confirm!r}, and not {user!r}.", returncode=BAD_INPUT)
        try:
            if confirm is None:
                there = gateway_users.preview(project=found, user=user, by=None)
                self.stdout.write(f"Would be deleted: {there.conversations} conversations, {there.feedback} feedback.")
                self.stdout.write(self._of_prompts(there))
                self.stdout.write(f"Nothing was deleted. To do it: --confirm {user}")
                return
            left = 1
            while left:
                done = gateway_users.delete(project=found, user=user, by=None)
                left = done.left
                self.stdout.write(f"Deleted: {done.conversations} conversations, {done.feedback} feedback.")
                self.stdout.write(self._of_prompts(done))
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None

    @staticmethod
    def _of_prompts(found: gateway_users.Found) -> str:
        return f"Prompts: {found.prompts}. {found.kept_prompts} more stay, since others have them too."
