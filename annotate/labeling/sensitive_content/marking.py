"""Marks on prompts that may upset, and the leases that end when a mark, a labeler's choice or a project's rule changes.

A prompt is marked by the file it came with, by a manager, or by a labeler who reports it. Leases on marked prompts that
a labeler is spared from now on end, and their drafts are kept.
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.pacing import Pace
from annotate.labeling.queue import leases
from annotate.labeling.sensitive_content.visibility import is_spared
from annotate.models import Assignment, Project, Prompt, QueueCursor, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

LONGEST_REASON = 500


def mark(*, prompt: Prompt, sensitive: bool, by: User) -> bool:
    """A manager marks a prompt, or takes the mark away. False when it was so already. Raises NotYours."""
    ensure(by, Capability.MANAGE, prompt.project)
    return _mark(prompt=prompt, sensitive=sensitive, by=by, verb="prompt.marked", reason="")


def report(*, prompt: Prompt, by: User, reason: str = "") -> bool:
    """A labeler says that a prompt, or a response to it, may upset. It is covered from now on; a manager can undo that.

    False when it was marked already. Raises NotYours, and Refused for a reason that can't be stored.
    """
    ensure(by, Capability.LABEL, prompt.project)
    reason = text.checked(reason.strip(), name=_("The reason"), longest=LONGEST_REASON)
    return _mark(prompt=prompt, sensitive=True, by=by, verb="prompt.reported", reason=reason)


def apply_choice(labeler: User) -> None:
    """Apply a labeler's changed choice: end the leases they are spared now, and restart their place in every queue."""
    with transaction.atomic():
        # Tasks that were passed over may be for them now.
        QueueCursor.objects.filter(labeler=labeler).update(position=leases.START)
        _release(Assignment.objects.filter(labeler=labeler))


def apply_rule(project: Project) -> None:
    """Apply a project's changed rule. To be called after its transaction: no lease may wait for its lock.

    However many people hold a task, in short transactions: new leases follow the rule already.
    """
    held, pace = Assignment.objects.filter(project=project), Pace()
    for batch in pace.batches(_spared(held)):
        with pace.transaction():
            _end(held, batch)
    leases.raise_epoch(project_id=project.pk)


def _mark(*, prompt: Prompt, sensitive: bool, by: User, verb: str, reason: str) -> bool:
    with transaction.atomic():
        unmarked = Prompt.objects.filter(pk=prompt.pk, sensitive=not sensitive)
        if unmarked.update(sensitive=sensitive) != 1:
            return False
        prompt.sensitive = sensitive
        detail: dict[str, Any] = {"sensitive": sensitive} | ({"reason": reason} if reason else {})
        audit.record(verb=verb, actor=by, subject=prompt, project=prompt.project, **detail)
        _release(Assignment.objects.filter(task__prompt=prompt).exclude(labeler=by))
        leases.raise_epoch(project_id=prompt.project_id)
    return True


def _release(assignments: QuerySet[Assignment]) -> None:
    """End leases on marked prompts of labelers who are spared them. Drafts stay."""
    _end(assignments, _spared(assignments))


def _spared(assignments: QuerySet[Assignment]) -> list[int]:
    """In the order of their tasks, in which everybody locks them."""
    held = _on_marked_prompts(assignments).select_related("labeler", "project").order_by("task_id")
    return [assignment.pk for assignment in held if is_spared(assignment.labeler, assignment.project)]


def _end(assignments: QuerySet[Assignment], keys: list[int]) -> None:
    """Those of the leases that are still held."""
    held = _on_marked_prompts(assignments).filter(pk__in=keys).order_by("task_id")
    for assignment in held.select_for_update(of=("self",), no_key=True):
        leases.end(assignment, state=Assignment.State.EXPIRED)


def _on_marked_prompts(assignments: QuerySet[Assignment]) -> QuerySet[Assignment]:
    return assignments.filter(state__in=Assignment.HELD, ended_at=None, task__prompt__sensitive=True)
