"""The kinds of task: how each is shown, checked, kept and summed up.

A kind is one module of this package with one `TaskKind`, and one value of Task.Kind with the module's name:
annotate/apps.py registers it. Nothing else of the product asks which kinds there are: the queue, the pages and the
forms read them here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.submissions import Submission, common_revision, ordered_revision
from annotate.models import Assignment, Judgment, JudgmentRevision, Project, Task
from annotate.models.labeling.task import task_kind_choices, task_kind_labels

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    # A form may need what this package checks.
    from annotate.forms.response_keys import ResponseKeys
    from annotate.forms.task_forms import TaskForm

LONGEST_NAME = 12


class MadeFrom(StrEnum):
    """What a manager's new tasks of a kind are made from."""

    PROMPTS = "prompts"
    RESPONSES = "responses"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class WrittenTurn:
    """A text that the labeler wrote or chose: `role` as in a chat, `how` it came about."""

    role: str
    how: str
    text: str


def _nothing(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    """Such a judgment has no outcome besides itself."""


def _nothing_to_withdraw(*, judgment: Judgment) -> None:
    """Such a judgment had no outcome besides itself."""


def _no_texts(revision: JudgmentRevision) -> list[WrittenTurn]:
    return []


def _no_demands(project: Project) -> None:
    """Such tasks can be made in every project."""


@dataclass(frozen=True, kw_only=True)
class TaskKind:
    """One kind of task.

    name:          the value of Task.kind, at most LONGEST_NAME characters.
    label:         what labelers do.
    count_label:   what a number of such tasks is called, to be read after the number.
    form:          the page's form: its template, and how its fields are read.
    content:       the submission's content as JudgmentRevision.content keeps it. Raises UnknownResponse or Refused.
    store:         makes what a revision brings besides itself, in its transaction; an earlier revision's outcome ends.
    withdraw:      ends what a judgment that is taken back had brought, in the same transaction.
    summary:       a judgment in a line, as others read it.
    texts:         the texts that a revision consists of.
    made_from:     what a manager makes such tasks from; None where they can't.
    check_project: raises Refused where a project can't have such tasks made.
    has_order:     whether a submission orders the task's responses.
    quotes_text:   whether the summary quotes a text, so that it is covered where the text may upset.
    """

    name: str
    label: "StrOrPromise"
    count_label: Callable[[int], str]
    form: "type[TaskForm]"
    content: Callable[[Submission, Assignment], dict[str, Any]]
    summary: Callable[[Judgment, JudgmentRevision], str]
    store: Callable[..., None] = _nothing
    withdraw: Callable[..., None] = _nothing_to_withdraw
    texts: Callable[[JudgmentRevision], list[WrittenTurn]] = _no_texts
    made_from: MadeFrom | None = None
    check_project: Callable[[Project], None] = _no_demands
    has_order: bool = False
    quotes_text: bool = False


_kinds: dict[str, TaskKind] = {}


def register(kind: TaskKind) -> None:
    """Make a kind known. A second one of the same name takes the first one's place."""
    if not 0 < len(kind.name) <= LONGEST_NAME:
        raise ValueError(f"the name of a task kind has 1 to {LONGEST_NAME} characters: {kind.name!r}")
    _kinds[kind.name] = kind
    task_kind_labels[kind.name] = kind.label


def unregister(name: str) -> None:
    """Forget a kind, as a test does with one of its own."""
    del _kinds[name], task_kind_labels[name]


def registered() -> list[TaskKind]:
    """Every kind, in the order in which pages list them."""
    return list(_kinds.values())


def names() -> list[str]:
    return list(_kinds)


def choices() -> list[tuple[str, "StrOrPromise"]]:
    """(name, label) of every kind, as fields of forms take them."""
    return task_kind_choices()


def get(name: str) -> TaskKind:
    """Raises KeyError for a kind that isn't registered."""
    return _kinds[name]


def kind_of(task: Task) -> TaskKind:
    return get(task.kind)


def form_class(assignment: Assignment) -> "type[TaskForm]":
    """The form that the assignment's page shows and reads."""
    return kind_of(assignment.task).form


def form_of(assignment: Assignment, *, data: Any = None) -> "TaskForm":
    """The form with its data: `data` where given, else the draft, else nothing entered yet."""
    return form_class(assignment)(assignment, data=data)


def fields_taken_back(assignment: Assignment) -> dict[str, list[str]]:
    """What was last submitted, as its form has it: the draft of a judgment that is taken back."""
    latest = JudgmentRevision.objects.filter(judgment__assignment=assignment, withdrawn=False).last()
    return form_class(assignment).initial_data(latest) if latest is not None else {}


def response_keys(assignment: Assignment) -> "ResponseKeys":
    """The keys of the responses on the assignment's page."""
    return form_class(assignment).response_keys_of(assignment)


def checked(submission: Submission, *, assignment: Assignment) -> JudgmentRevision:
    """The submission as an unsaved revision without its judgment and number.

    Raises InvalidOrdering, UnknownResponse or Refused (400), each with a sentence.
    """
    kind = kind_of(assignment.task)
    if kind.has_order:
        revision = ordered_revision(submission, assignment=assignment)
    elif submission.tiers or submission.all_unacceptable or submission.margin is not None:
        raise Refused(_("Only comparisons have an order."), status=400)
    else:
        revision = common_revision(submission, assignment=assignment)
    revision.content = kind.content(submission, assignment)
    return revision


def content_fields(content: Any, *, required: set[str], optional: set[str]) -> dict[str, Any]:
    """The submission's content, an object with these fields. Raises Refused (400) for any other."""
    if not isinstance(content, dict) or not required <= set(content) <= required | optional:
        raise Refused(_("The form came incomplete. Reload the page: your draft is kept."), status=400)
    return content
