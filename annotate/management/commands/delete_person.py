"""Delete a person's data on request."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import BAD_INPUT, refuse_repeated_flags
from annotate.models import JudgmentExclusion, PersonDeletion, User
from annotate.people.deletion import deletions
from annotate.quality.review import exclusions


class Command(BaseCommand):
    help = "Delete what names a person; what they judged and wrote stays under a pseudonym. It can't be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("username", metavar="NAME", help="User name of the account.")
        parser.add_argument(
            "--confirm",
            metavar="NAME",
            help="The user name again. Without it, only say what there is and delete nothing.",
        )
        parser.add_argument(
            "--judgments",
            choices=PersonDeletion.Judgments.values,
            default=PersonDeletion.Judgments.KEEP.value,
            help="Whether the person's judgments go on counting.",
        )

    def handle(self, *, username: str, confirm: str | None, judgments: str, **options: Any) -> None:
        person = User.objects.filter(username=username).first()
        if person is None:
            raise CommandError(f"There is no account {username!r}.", returncode=BAD_INPUT)
        try:
            if confirm is None:
                self._preview(person)
                return
            if confirm != username:
                raise CommandError(f"--confirm says {confirm!r}, and not {username!r}.", returncode=BAD_INPUT)
            deletion = deletions.begin(person=person, by=None, judgments=judgments)
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        if not deletions.run(deletion.pk):
            raise CommandError(
                "The account is closed. A worker deletes the rest at this moment, or within a minute goes on with it."
            )
        for exclusion in JudgmentExclusion.objects.filter(labeler=person, created_at__gte=deletion.created_at):
            exclusions.JOB.run(exclusion.pk)
        deletion.refresh_from_db()
        self._say("Deleted:", [(name, number) for name, number in sorted(deletion.removed.items())])
        self.stdout.write(f"The account is {deletion.person.username} now.")

    def _preview(self, person: User) -> None:
        deletions.refuse_impossible(person, by=None)
        removed, kept = deletions.preview(person)
        for heading, counts in (("Would be deleted:", removed), ("Would stay, under a pseudonym:", kept)):
            self._say(heading, [(each.label, f"{each.number}{' or more' * each.is_most}") for each in counts])
        self.stdout.write(f"Nothing was deleted. To do it: --confirm {person.username}")

    def _say(self, heading: str, lines: list[tuple[str, Any]]) -> None:
        self.stdout.write(heading)
        for name, number in lines:
            self.stdout.write(f"  {number} {name}")
