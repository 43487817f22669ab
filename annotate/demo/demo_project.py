"""Make the demo project: its people, guidelines, rubric, prompts, and a queue of responses to rank."""

from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from annotate import demo
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.models import Membership, Project, User
from annotate.people import members, projects

SLUG = "demo"
MANAGER = "manager"
LABELERS = ("labeler1", "labeler2")
OVERLAP = 2
"""Both labelers judge every task, so that their agreement can be seen."""
CRITERIA = (
    {
        "name": "quality",
        "label": "Overall quality",
        "min": 1,
        "max": 7,
        "help": "1: of no use; 4: half of what was asked; 7: nothing to improve.",
    },
)
FLAGS = (
    {"name": "misses_the_task", "label": "Misses the task", "help": "It does something else than the prompt asks for."},
    {
        "name": "made_up",
        "label": "Made up",
        "help": "It states what is false, or isn't in the given text.",
    },
    {"name": "harmful", "label": "Harmful", "help": "Somebody who follows it could be hurt, or it insults."},
)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The demo project. `passwords`: one-time passwords by user name; empty where nothing was made."""

    project: Project
    passwords: dict[str, str]


def create(*, prompts: Path = demo.PROMPTS, responses: Path | None = demo.RESPONSES) -> Demo:
    """Make the demo project with everything in it, unless it is there: all or nothing.

    `prompts` and `responses` are files; the responses are queued as comparisons. Raises Refused when somebody else has
    one of its user names, or when a file can't be imported.
    """
    with transaction.atomic():
        project = Project.objects.filter(slug=SLUG).first()
        if project is not None:
            return Demo(project=project, passwords={})
        manager, password = _administrator()
        project = projects.create_project(
            by=manager,
            slug=SLUG,
            name="Demo",
            description="Responses of a small language model to everyday prompts.",
            overlap=OVERLAP,
            guidelines=demo.GUIDELINES.read_text(encoding="utf-8"),
            criteria=CRITERIA,
            flags=FLAGS,
        )
        passwords = {MANAGER: password} | _add_labelers(project, by=manager)
        for path in filter(None, (prompts, responses)):
            report = import_file(project=project, path=path, by=manager)
            if report.errors:
                raise Refused(f"{report.summary} {path.name}, {report.errors[0]}", status=400)
    return Demo(project=project, passwords=passwords)


def _administrator() -> tuple[User, str]:
    """The project's manager, who is the installation's administrator as well: there is no other account yet."""
    _refuse_taken(MANAGER)
    manager = User.objects.create_superuser(MANAGER, first_name="Demo", last_name="Manager")
    password = members.give_one_time_password(manager)
    manager.save()
    return manager, password


def _add_labelers(project: Project, *, by: User) -> dict[str, str]:
    passwords = {}
    for username in LABELERS:
        _refuse_taken(username)
        _, password = members.add(project=project, username=username, role=Membership.Role.LABELER, by=by)
        passwords[username] = password or ""
    return passwords


def _refuse_taken(username: str) -> None:
    if User.objects.filter(username__iexact=username).exists():
        raise Refused(f"There is an account {username} already, so the demo project can't be made.")
