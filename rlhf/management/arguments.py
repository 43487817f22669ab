"""Arguments that several commands share."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from annotate.errors import Refused
from annotate.models import Project
from rlhf.loop import versions
from rlhf.models import ModelVersion


def add_settings(parser: CommandParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the stage; may be repeated"
    )


def settings(options: dict[str, Any]) -> dict[str, str]:
    """{key: value} of --set. Raises CommandError for one without an equals sign, and for a key that comes twice."""
    found: dict[str, str] = {}
    for key, sign, value in (item.partition("=") for item in options["set"]):
        if not sign or not key:
            raise CommandError(f"--set takes KEY=VALUE, not {key!r}.")
        if key in found:
            raise CommandError(f"The setting {key} is given twice: which of the two is meant?")
        found[key] = value
    return found


def project(slug: str) -> Project:
    """Raises CommandError where there is no such project."""
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no project {slug!r}; there are {', '.join(_slugs()) or 'none yet'}.")
    return found


def version(project: Project, name: str) -> ModelVersion:
    """A version by its name ("policy-3"), else a base model by catalogue name, folder or Hub id.

    Raises CommandError for the name of a version that there isn't, which would become a base model of that name.
    """
    try:
        return versions.find(project, name)
    except Refused as error:
        kind, _hyphen, number = name.rpartition("-")
        if kind in ModelVersion.Kind.values and number.isdecimal():
            raise CommandError(str(error)) from None
        return versions.base(project, name=name)


def _slugs() -> list[str]:
    return list(Project.objects.order_by("slug").values_list("slug", flat=True)[:20])
