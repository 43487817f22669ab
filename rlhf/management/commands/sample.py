"""manage.py sample PROJECT: sample responses of the active policy to the next prompts, as comparisons."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.loop import sampling
from rlhf.management import arguments
from rlhf.runs import waiting


class Command(BaseCommand):
    help = (
        "Sample responses of the active policy to the next prompts and queue the comparisons. The last line is one "
        "JSON object."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument(
            "--prompts", type=int, default=sampling.DEFAULT_PROMPTS, help="number of prompts (%(default)s)"
        )
        parser.add_argument("--samples", type=int, help="responses per prompt; the project's K by default")
        parser.add_argument(
            "--model", help="another model than the active policy (policy-3, or a catalogue name, folder or Hub id)"
        )
        parser.add_argument("--wait", action="store_true", help="wait until the responses are in the queue")
        arguments.add_settings(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        project = arguments.project(options["project"])
        try:
            run = sampling.start(
                project=project,
                by=None,
                version=arguments.version(project, options["model"]) if options["model"] else None,
                prompt_count=options["prompts"],
                samples=options["samples"],
                config=arguments.settings(options),
            )
        except Refused as error:
            raise CommandError(str(error)) from None
        run = waiting.after_start(run, wait=options["wait"], write=self.stderr.write)
        self.stdout.write(json.dumps({"run": run.pk, "status": run.status} | run.result))
