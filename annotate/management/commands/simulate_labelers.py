"""Let simulated labelers judge a project's open tasks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.labeling.simulation import HUMAN_AGREEMENT, JUDGES, simulate
from annotate.management.arguments import add_project, project_named, refuse_repeated_flags


class Command(BaseCommand):
    help = "Let simulated labelers judge the open tasks, through the same queue as people and about as consistently."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        parser.add_argument("--judge", choices=list(JUDGES), default="positivity")
        parser.add_argument("--labelers", type=int, default=2)
        parser.add_argument("--noise", type=float, help="Of their perception; without it, calibrated to --agreement.")
        parser.add_argument("--agreement", type=float, default=HUMAN_AGREEMENT, help="Share of pairs two agree on.")
        parser.add_argument("--judgments", type=int, help="Stop after so many.")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        keys = ("judge", "labelers", "noise", "agreement", "judgments", "seed")
        try:
            result = simulate(project=project, **{key: options[key] for key in keys})
        except Refused as reason:
            raise CommandError(str(reason)) from None
        self.stdout.write(
            f"{result.judgments} judgments by {result.labelers} simulated labelers, noise {result.noise:.4f}."
        )
        if result.expected is not None:
            self.stdout.write(f"Two of them agree on {result.expected:.1%} of pairs by that noise.")
        share = result.measured
        if share.rate is None or share.low is None or share.high is None:
            self.stdout.write("No task was judged twice, so their agreement can't be measured; see the overlap.")
        else:
            self.stdout.write(
                f"Measured where two judged a task: {share.rate:.1%} of {share.total} pairs "
                f"(95% interval {share.low:.1%} to {share.high:.1%})."
            )
