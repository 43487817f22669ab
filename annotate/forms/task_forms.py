"""Which form a kind of task is shown as, and read back by."""

from annotate.forms.board import Board, FormData
from annotate.forms.chat import ContinueChat
from annotate.forms.response_keys import ResponseKeys
from annotate.forms.written import Demonstrate, Rate, TextTask, WritePrompt
from annotate.models import Assignment, Task

TaskForm = Board | TextTask
TASK_FORMS: dict[str, type[Board] | type[TextTask]] = {
    Task.Kind.COMPARE: Board,
    Task.Kind.DEMONSTRATE: Demonstrate,
    Task.Kind.WRITE_PROMPT: WritePrompt,
    Task.Kind.RATE: Rate,
    Task.Kind.CHAT: ContinueChat,
}


def kind_of(assignment: Assignment) -> type[Board] | type[TextTask]:
    return TASK_FORMS[assignment.task.kind]


def response_keys(assignment: Assignment) -> ResponseKeys:
    """What the assignment's page calls its responses."""
    return kind_of(assignment).response_keys_of(assignment)


def form_of(assignment: Assignment, *, data: FormData | None = None) -> TaskForm:
    """The form of an assignment: what was entered, else its draft, else the judgment that is being revised."""
    return kind_of(assignment)(assignment, data=data)
