"""Which kind of task a labeler wants for now, where a project has several open."""

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.queue.leases import START, State, end, held, locked_cursor
from annotate.models import Project, QueueCursor, User


def chosen_kind(*, labeler: User, project: Project) -> str:
    """The kind that was chosen and that the project still has; empty for any."""
    cursors = QueueCursor.objects.filter(labeler=labeler, project=project)
    kind = cursors.values_list("kind", flat=True).first() or ""
    return kind if kind in project.task_kinds else ""


def choose_kind(*, labeler: User, project: Project, kind: str) -> None:
    """Give this labeler tasks of one kind from now on, or of any (""). What they hold of others goes back to the queue,
    and their drafts of it stay. Raises Refused (400) for a kind that the project doesn't have."""
    if kind and kind not in project.task_kinds:
        raise Refused(_("This project has no tasks of that kind."), status=400)
    with transaction.atomic():
        cursor = locked_cursor(labeler=labeler, project=project)
        # Tasks of other kinds that were passed by are looked at again when the choice is another one.
        QueueCursor.objects.filter(pk=cursor.pk).update(kind=kind, position=START)
        if not kind:
            return
        others = held(labeler=labeler, project=project).exclude(task__kind=kind)
        for assignment in others.select_for_update(of=("self",), no_key=True).order_by("task_id"):
            end(assignment, state=State.EXPIRED)
