"""How a round changes: each change is one conditional update, so that a second worker changes nothing."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Project, User
from rlhf.models import Iteration

Step = Iteration.Step
State = Iteration.State


class AlreadyMoved(Exception):
    """Another worker has moved the round to its next step."""


class RoundEnded(Exception):
    """The round ends here in a state, for a reason."""

    def __init__(self, state: str, reason: StoredMessage) -> None:
        super().__init__(state, reason)
        self.state = state
        self.reason = reason


def create(project: Project, *, rounds_left: int, by: User | None, judgments_wanted: int = 0) -> Iteration:
    number = (project.iterations.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    return Iteration.objects.create(
        project=project,
        number=number,
        step=Step.WAIT if judgments_wanted else Step.SNAPSHOT,
        step_since=timezone.now(),
        judgments_wanted=judgments_wanted,
        rounds_left=rounds_left,
        started_by=by,
    )


def move(iteration: Iteration, *, to: str, **values: Any) -> None:
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE, step=iteration.step)
    if iteration.step != to:
        values["step_since"] = timezone.now()
    if rows.update(step=to, **measured(iteration), **values) != 1:
        raise AlreadyMoved
    iteration.step = to
    for name, value in values.items():
        setattr(iteration, name, value)


def measured(iteration: Iteration) -> dict[str, Any]:
    return {"numbers": iteration.numbers, "gates": iteration.gates}


def close(iteration: Iteration, state: str, reason: StoredMessage, **values: Any) -> bool:
    """End an active round; False when it has ended already."""
    stored = reason.as_json()
    values |= {"reason": stored_messages.in_english(stored), "failure": stored, "finished_at": timezone.now()}
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE)
    return rows.update(state=state, **values) == 1


def refuse_ended(iteration: Iteration) -> None:
    iteration.refresh_from_db()
    raise Refused(_("This round has ended already: %(state)s.") % {"state": iteration.get_state_display().lower()})
