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
    if (project := Project.objects.filter(slug=SLUG).first()) is not None:
        return Demo(project=project, passwords={})
    # Before the transaction: hashing takes longer than anybody may hold SQLite's write lock.
    accounts = _accounts()
    with transaction.atomic():
        project = Project.objects.filter(slug=SLUG).first()
        if project is not None:
            return Demo(project=project, passwords={})
        passwords = {user.username: password for user, password in accounts}
        manager = _saved(accounts)
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
        for username in LABELERS:
            members.add(project=project, username=username, role=Membership.Role.LABELER, by=manager)
        for path in filter(None, (prompts, responses)):
            report = import_file(project=project, path=path, by=manager)
            if report.errors:
                raise Refused(f"{report.summary} {path.name}, {report.errors[0]}", status=400)
    return Demo(project=project, passwords=passwords)


def _accounts() -> list[tuple[User, str]]:
    """The people, not saved yet, each with a one-time password. The project's manager comes first and is the
    installation's administrator as well: there is no other account yet."""
    manager = User(username=MANAGER, first_name="Demo", last_name="Manager", is_staff=True, is_superuser=True)
    people = [manager, *(User(username=username) for username in LABELERS)]
    return [(user, members.give_one_time_password(user)) for user in people]


def _saved(accounts: list[tuple[User, str]]) -> User:
    """Save the accounts; returns the manager."""
    (manager, _password), *_labelers = accounts
    for user, _password in accounts:
        if User.objects.filter(username__iexact=user.username).exists():
            raise Refused(f"There is an account {user.username} already, so the demo project can't be made.")
        user.created_by = None if user is manager else manager
        user.save()
    return manager
