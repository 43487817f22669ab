"""Arguments that several commands share."""

from django.core.management.base import CommandError, CommandParser

from annotate.models import Project

BAD_INPUT = 2
"""Exit status where nothing was done, because of what the command was given."""


def add_project(parser: CommandParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="Slug of the project, as in its address.")


def project_named(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no project {slug!r}. Projects: {known}.", returncode=BAD_INPUT)
    return project
