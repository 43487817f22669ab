"""Compute a project's measures of quality from scratch."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from annotate.management.arguments import add_project, project_named, refuse_repeated_flags
from annotate.models import MeasuresState
from annotate.quality import measures

WAIT_SECONDS = 1.0


class Command(BaseCommand):
    help = "Compute the sums that a project's measures of quality rest on from scratch, while labeling goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        start, folded = time.monotonic(), 0
        measures.request_recompute(project)
        unfinished = MeasuresState.objects.filter(project=project, recompute_after__isnull=False)
        while unfinished.exists():
            now = measures.fold(project)
            folded += now
            if not now and unfinished.exists():
                time.sleep(WAIT_SECONDS)  # the worker has the lease
        self.stdout.write(f"{folded} tasks in {time.monotonic() - start:.1f} s.")
