"""The people that most tests need, and texts for them to judge. Import `cast` into a conftest to have the fixture."""

import uuid
from dataclasses import dataclass

import pytest

from annotate.forms.exam import ExamBoard
from annotate.labeling import queue, task_kinds
from annotate.labeling.queue import Receipt, Submission
from annotate.models import Assignment, Author, ExamAnswer, Membership, Project, Prompt, Response, Task, User
from annotate.people.projects import create_project

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, kw_only=True)
class Cast:
    """A project with one person a role, and an outsider who manages a project of their own."""

    project: Project
    manager: User
    researcher: User
    reviewer: User
    labeler: User
    second_labeler: User
    outsider: User
    other_project: Project
    admin: User


def make_user(username: str, **values: object) -> User:
    user = User(username=username, **values)
    user.set_password(PASSWORD)
    user.save()
    return user


def make_cast() -> Cast:
    admin = make_user("admin", is_superuser=True, is_staff=True)
    project = create_project(by=admin, name="Kindness", responses_per_task=4, guidelines="Rank by **kindness**.")
    other_project = create_project(by=admin, name="Elsewhere")
    people = {
        name: make_user(name) for name in ("manager", "researcher", "reviewer", "labeler", "second_labeler", "outsider")
    }
    Membership.objects.filter(user=admin).delete()
    roles = {
        "manager": Membership.Role.MANAGER,
        "researcher": Membership.Role.RESEARCHER,
        "reviewer": Membership.Role.REVIEWER,
        "labeler": Membership.Role.LABELER,
        "second_labeler": Membership.Role.LABELER,
    }
    for name, role in roles.items():
        Membership.objects.create(user=people[name], project=project, role=role)
    Membership.objects.create(user=people["outsider"], project=other_project, role=Membership.Role.MANAGER)
    return Cast(project=project, other_project=other_project, admin=admin, **people)


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def make_prompt(project: Project, question: str = "How do I boil an egg?") -> Prompt:
    return Prompt.objects.create(project=project, messages=[{"role": "user", "content": question}], language="en")


def make_responses(prompt: Prompt, *texts: str, model: str = "a-model") -> list[Response]:
    author, _ = Author.objects.get_or_create(kind=Author.Kind.MODEL, name=model)
    return [
        Response.objects.create(prompt=prompt, text=text, author=author, finish_reason=Response.FinishReason.EOS)
        for text in texts
    ]


def make_comparison(
    project: Project,
    question: str = "How do I boil an egg?",
    texts: tuple[str, ...] = ("In water.", "Slowly.", "Ten minutes.", "Ask a hen."),
    **values: object,
) -> Task:
    prompt = make_prompt(project, question)
    return queue.add_comparison(project=project, prompt=prompt, responses=make_responses(prompt, *texts), **values)


def key_of(holder: Assignment | ExamAnswer, response_id: int) -> str:
    """What the page of an assignment or an exam item calls a response."""
    if isinstance(holder, ExamAnswer):
        return ExamBoard(holder).response_keys.key(response_id)
    return task_kinds.response_keys(holder).key(response_id)


def keys_of(holder: Assignment | ExamAnswer) -> list[str]:
    """What the page calls its responses, in the order in which they are shown."""
    return [key_of(holder, response_id) for response_id in holder.presentation]


def response_ids(task: Task) -> list[int]:
    """In the order they were made, not as a labeler sees them."""
    return list(task.task_responses.values_list("response_id", flat=True))


def judge(assignment: Assignment, tiers: list[list[int]], **values: object) -> Receipt:
    """Submit an ordering as the assignment's labeler."""
    return hand_in(assignment, tiers=tiers, **values)


def hand_in(assignment: Assignment, content: object = None, **values: object) -> Receipt:
    """Submit what a task of any kind asks for, as the assignment's labeler."""
    submission = Submission(**{"client_id": uuid.uuid4(), "content": content or {}, **values})
    return queue.submit(assignment_id=assignment.pk, labeler=assignment.labeler, submission=submission)
