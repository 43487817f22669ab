"""Push a snapshot to a repository of a Hub."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.data.hub import dataset_pushes
from annotate.errors import Refused
from annotate.management.arguments import BAD_INPUT, add_project, project_named, refuse_repeated_flags
from annotate.models import Snapshot


class Command(BaseCommand):
    help = "Push a ready snapshot, with its card as README.md, to a data set of a Hub, which is made where it isn't."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument("snapshot", metavar="SNAPSHOT", type=int, help="Its number, as export_data says it.")
        parser.add_argument("repository", metavar="OWNER/NAME")
        parser.add_argument("--private", action="store_true", help="Of a repository that is made now.")
        parser.add_argument(
            "--token-variable", default="HF_TOKEN", help="Environment variable with the token (HF_TOKEN)."
        )
        parser.add_argument("--ask-token", action="store_true", help="Type the token instead; it is stored nowhere.")

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        snapshot = Snapshot.objects.filter(project=project, pk=options["snapshot"]).select_related("project").first()
        if snapshot is None:
            raise CommandError(f"{project.slug} has no snapshot {options['snapshot']}.", returncode=BAD_INPUT)
        token = getpass.getpass("Token of the Hub: ").strip() if options["ask_token"] else ""
        if options["ask_token"] and not token:
            raise CommandError("No token was typed.", returncode=BAD_INPUT)
        try:
            push = dataset_pushes.push_now(
                snapshot=snapshot,
                repository=options["repository"],
                private=options["private"],
                token_variable=options["token_variable"],
                token=token,
            )
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        self.stdout.write(f"{push.repository}, commit {push.revision}: {push.url}")
