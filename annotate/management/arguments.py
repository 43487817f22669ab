"""Arguments that several commands share."""

from django.core.management.base import CommandError, CommandParser

from annotate.models import Project


def add_project(parser: CommandParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="Slug of the project, as in its address.")


def project_named(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no project {slug!r}. Projects: {known}.")
    return project
