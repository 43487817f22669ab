"""manage.py export_gguf PROJECT VERSION: a policy as a GGUF file for llama.cpp."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.management import arguments
from rlhf.model_registry import exporting
from rlhf.runs import waiting


class Command(BaseCommand):
    help = "Write a version as a GGUF file for llama.cpp. The last line is one JSON object."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("version", help="policy-3, or a base model by catalogue name, folder or Hub id")
        parser.add_argument("--type", choices=exporting.TYPES, default="q8_0", help="of the weights (%(default)s)")
        parser.add_argument("--wait", action="store_true", help="wait until the file is there")

    def handle(self, *args: Any, **options: Any) -> None:
        version = arguments.version(arguments.project(options["project"]), options["version"])
        try:
            run = exporting.start_gguf(version, kind=options["type"], by=None)
        except Refused as error:
            raise CommandError(str(error)) from None
        run = waiting.after_start(run, wait=options["wait"], write=self.stderr.write)
        file = {"file": str(exporting.gguf_path(run))} if exporting.gguf_path(run).is_file() else {}
        self.stdout.write(json.dumps({"run": run.pk, "status": run.status} | run.result | file))
