"""manage.py import_model PROJECT MODEL --kind K: check a folder or Hub id and keep it as a version."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.management import arguments
from rlhf.model_registry import importing
from rlhf.runs import waiting


class Command(BaseCommand):
    help = "Check a model folder or Hub id, copy it, and keep it as a version. The last line is one JSON object."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("model", help="a folder or a Hub id")
        parser.add_argument(
            "--kind", required=True, choices=[str(kind) for kind in importing.KINDS], help="what the model is"
        )
        parser.add_argument("--wait", action="store_true", help="wait until it is a version")

    def handle(self, *args: Any, **options: Any) -> None:
        project = arguments.project(options["project"])
        try:
            run = importing.start(
                project=project, source=options["model"], kind=options["kind"], by=None, from_page=False
            )
        except Refused as error:
            raise CommandError(str(error)) from None
        run = waiting.after_start(run, wait=options["wait"], write=self.stderr.write)
        made = {"model": str(run.produced)} if run.produced is not None else {}
        self.stdout.write(json.dumps({"run": run.pk, "status": run.status} | made))
