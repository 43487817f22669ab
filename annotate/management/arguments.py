"""Arguments that several commands share."""

import argparse
from typing import Any

from django.core.management.base import CommandError, CommandParser

from annotate.models import Project

BAD_INPUT = 2
"""Exit status where nothing was done, because of what the command was given."""


class SingleUse(argparse.Action):
    """A flag that takes one value. argparse alone would silently use the last one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        seen: frozenset[str] = getattr(namespace, "seen_flags", frozenset())
        if self.dest in seen:
            parser.error(f"{option_string} is given twice, and one is read")
        namespace.seen_flags = seen | {self.dest}
        setattr(namespace, self.dest, values)


def refuse_repeated_flags(parser: CommandParser) -> None:
    """To be called before a command adds its arguments."""
    parser.register("action", None, SingleUse)


def add_project(parser: CommandParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="Slug of the project, as in its address.")


def project_named(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no project {slug!r}. Projects: {known}.", returncode=BAD_INPUT)
    return project
