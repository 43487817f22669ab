"""manage.py active_learning PROJECT: order the queue by the disagreement of the reward ensemble."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.loop import active_learning
from rlhf.management import arguments
from rlhf.runs import waiting


class Command(BaseCommand):
    help = (
        "Score the next open comparisons by the active reward ensemble and order them by its disagreement. The last "
        "line is one JSON object."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("--tasks", type=int, help="number of comparisons; the loop settings' by default")
        parser.add_argument("--wait", action="store_true", help="wait until the queue is ordered")

    def handle(self, *args: Any, **options: Any) -> None:
        project = arguments.project(options["project"])
        try:
            run = active_learning.start(project=project, by=None, tasks=options["tasks"])
        except Refused as error:
            raise CommandError(str(error)) from None
        run = waiting.after_start(run, wait=options["wait"], write=self.stderr.write)
        self.stdout.write(json.dumps({"run": run.pk, "status": run.status} | run.result))
