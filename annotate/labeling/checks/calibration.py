"""The calibration set: comparisons that every labeler judges once, early in their work, for agreement among all."""

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.checks import placement
from annotate.models import Project, Task, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

MOST_TASKS = 100


def tasks_of(project: Project) -> QuerySet[Task]:
    return Task.objects.filter(project=project, state=Task.State.CALIBRATION).order_by("-pk")


def add(*, task: Task, by: User) -> Task:
    """Take a comparison out of the queue and into the set. Who has judged it before is not asked again.

    Raises NotYours and Refused.
    """
    ensure(by, Capability.MANAGE, task.project)
    if tasks_of(task.project).count() >= MOST_TASKS:
        raise Refused(_("A calibration set has at most %(count)d tasks.") % {"count": MOST_TASKS})
    with transaction.atomic():
        placement.take_out_of_queue(task, state=Task.State.CALIBRATION)
        _changed(task, by=by, verb="calibration.added")
    task.refresh_from_db()
    return task


def remove(*, task: Task, by: User) -> Task:
    """Put a task of the set back into the queue, if it still wants judgments. Raises NotYours and Refused."""
    ensure(by, Capability.MANAGE, task.project)
    with transaction.atomic():
        if not placement.put_back(task, state=Task.State.CALIBRATION):
            raise Refused(_("This task isn't part of the calibration set."))
        _changed(task, by=by, verb="calibration.removed")
    task.refresh_from_db()
    return task


def _changed(task: Task, *, by: User, verb: str) -> None:
    # Labelers who have judged the whole set look at it again.
    Project.objects.filter(pk=task.project_id).update(calibration_version=F("calibration_version") + 1)
    audit.record(verb=verb, actor=by, subject=task, project=task.project)
