"""manage.py push_model PROJECT VERSION OWNER/NAME: push a version to a Hub."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.management import arguments
from rlhf.model_registry import exporting
from rlhf.runs import waiting


class Command(BaseCommand):
    help = "Push a version with its card to a repository of a Hub. The last line is one JSON object."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("version", help="policy-3, for example")
        parser.add_argument("repository", help="OWNER/NAME")
        parser.add_argument("--private", action="store_true", help="of a repository that is made now")
        parser.add_argument("--adapter", action="store_true", help="push its LoRA adapter alone, as peft's folder")
        parser.add_argument(
            "--base",
            default="",
            metavar="OWNER/NAME",
            help="with --adapter: the model on the Hub that it was trained on, where Hone does not know it",
        )
        parser.add_argument(
            "--token-variable",
            default=exporting.TOKEN,
            help="environment variable of the worker that holds the token (%(default)s)",
        )
        parser.add_argument("--wait", action="store_true", help="wait until it is there")

    def handle(self, *args: Any, **options: Any) -> None:
        version = arguments.version(arguments.project(options["project"]), options["version"])
        try:
            run = exporting.start_push(
                version,
                repository=options["repository"],
                private=options["private"],
                token_variable=options["token_variable"],
                as_adapter=options["adapter"],
                base=options["base"],
                by=None,
            )
        except Refused as error:
            raise CommandError(str(error)) from None
        run = waiting.after_start(run, wait=options["wait"], write=self.stderr.write)
        self.stdout.write(json.dumps({"run": run.pk, "status": run.status} | run.result))
