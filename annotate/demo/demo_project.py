"""Make the demo project: its people, guidelines, rubric, prompts, and a queue of responses to rank."""

from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from annotate import demo
from annotate.data.imports import ImportReport, check_file, import_file
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
    """The demo project. `passwords`: one-time passwords by user name; empty where it was complete already."""

    project: Project
    passwords: dict[str, str]


def create(*, prompts: Path = demo.PROMPTS, responses: Path | None = demo.RESPONSES) -> Demo:
    """Make the demo project with everything in it, unless it is there.

    `prompts` and `responses` are files; the responses are queued as comparisons. Raises Refused when somebody else has
    one of its user names, or when a file can't be imported; then nothing was made. Nobody can sign in before everything
    is there: what was interrupted goes on at the next call, which is when the accounts get their passwords.
    """
    files = [path for path in (prompts, responses) if path is not None]
    if (project := Project.objects.filter(slug=SLUG).first()) is None:
        for path in files:
            _refuse_errors(check_file(path), path)
        project = _made()
    people = list(User.objects.filter(username__in=[MANAGER, *LABELERS]))
    waiting = [user for user in people if not user.has_usable_password()]
    manager = next((user for user in waiting if user.username == MANAGER), None)
    if manager is None:
        return Demo(project=project, passwords={})
    # In transactions of its own, like every import: SQLite's write lock is for everybody.
    for path in files:
        _refuse_errors(import_file(project=project, path=path, by=manager), path)
    return Demo(project=project, passwords=_opened(waiting))


def _made() -> Project:
    """The project and its people, who can't sign in yet."""
    with transaction.atomic():
        manager = _account(MANAGER, first_name="Demo", last_name="Manager", is_staff=True, is_superuser=True)
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
            _account(username, created_by=manager)
            members.add(project=project, username=username, role=Membership.Role.LABELER, by=manager)
    return project


def _account(username: str, **values: object) -> User:
    if User.objects.filter(username__iexact=username).exists():
        raise Refused(f"There is an account {username} already, so the demo project can't be made.")
    user = User(username=username, **values)
    user.set_unusable_password()
    user.save()
    return user


def _opened(people: list[User]) -> dict[str, str]:
    """Give everybody a one-time password; of two calls at once one does. The manager is the installation's
    administrator as well: there is no other account yet."""
    passwords = {}
    unusable = {user.pk: user.password for user in people}
    # Before the transaction: hashing takes longer than anybody may hold SQLite's write lock.
    given = [(user, members.give_one_time_password(user)) for user in people]
    with transaction.atomic():
        for user, password in given:
            values = {name: getattr(user, name) for name in ("password", "must_change_password", "one_time_until")}
            if User.objects.filter(pk=user.pk, password=unusable[user.pk]).update(**values):
                passwords[user.username] = password
    return {name: passwords[name] for name in (MANAGER, *LABELERS) if name in passwords}


def _refuse_errors(report: ImportReport, path: Path) -> None:
    if report.errors:
        raise Refused(f"{report.summary} {path.name}, {report.errors[0]}", status=400)
