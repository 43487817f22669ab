"""Verify the hash chain over the audit log."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import BAD_INPUT, refuse_repeated_flags
from annotate.people.audit import chain


class Command(BaseCommand):
    help = "Compute the hash chain over the audit log again: was an event altered, removed or slipped in?"

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument(
            "--head",
            metavar="POSITION:DIGEST",
            help="A head noted earlier, from this command or a worker's log, that the chain must still contain.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            expected = chain.parse_head(options["head"]) if options["head"] is not None else None
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        result = chain.verify(expected)
        for problem in result.problems:
            self.stderr.write(problem)
        if result.found:
            raise CommandError(f"The audit log isn't intact: {result.found} problems. The chain ends at {result.head}.")
        self.stdout.write(f"{result.head.position} events are linked and intact, {result.waiting} wait to be linked.")
        if result.erased:
            self.stdout.write(
                f"Names of deleted persons were erased from {result.erased} of them, as events {chain.ERASED} say."
            )
        self.stdout.write(f"head {result.head}")
