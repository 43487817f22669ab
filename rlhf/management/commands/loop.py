"""manage.py loop PROJECT: rounds of snapshot -> reward model -> PPO -> sampling."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from rlhf.loop import loop
from rlhf.management import arguments
from rlhf.models import Iteration
from rlhf.runs import waiting


class Command(BaseCommand):
    help = (
        "Run rounds of the loop: train on the judgments and sample responses of the new policy. The last line is one "
        "JSON object."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("--rounds", type=int, default=1, help="number of rounds (%(default)s)")
        parser.add_argument("--wait", action="store_true", help="wait for the end of all rounds")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        project = arguments.project(options["project"])
        try:
            iteration = loop.start(project=project, rounds=options["rounds"], by=None)
        except Refused as error:
            raise CommandError(str(error)) from None
        rounds = [iteration]
        if options["wait"]:
            rounds = waiting.for_rounds(iteration, rounds=options["rounds"], write=self.stderr.write)
        report = {"rounds": [self.numbers(each) for each in rounds], "seconds": round(time.monotonic() - began, 1)}
        self.stdout.write(json.dumps(report))

    @staticmethod
    def numbers(iteration: Iteration) -> dict[str, Any]:
        policy = str(iteration.policy_version) if iteration.policy_version else None
        return {"round": iteration.number, "state": iteration.state, "policy": policy} | iteration.numbers
