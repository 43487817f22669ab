"""A new priority, reservation, skill or number of judgments of many open tasks, carried into them beside labelers.

As with a new overlap: the first tasks are changed while the request waits, the rest by a job in short transactions,
each of which renews the job's lease. It goes through the tasks in the order of their numbers and keeps the last one, so
another job goes on from there when it dies.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldError
from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling.queue import overlap
from annotate.labeling.queue.leases import raise_epoch
from annotate.labeling.queue.work_rules import LABELING_ROLES
from annotate.models import Membership, OverlapChange, Project, Skill, Task, TaskChange, User
from annotate.models.leased_job import JobLease
from annotate.people import audit
from annotate.people.permissions import Capability, count_people_who_judge, ensure, too_many_judgments

State = TaskChange.State
AT_ONCE = 500
"""Tasks that are changed within the request: some tenth of a second."""
RESTART_SECONDS = 2.0
"""Between two times at which labelers look at the whole queue again while a change is under way."""
MOST_PRIORITY = 1_000
MOST_NAMED = 10_000
"""Tasks that a selection may name by number."""
LOOKUPS = frozenset(
    {
        *("kind", "pk__in", "priority", "priority__gte", "priority__lte", "judgments_given", "has_edits"),
        *("skill", "skill__isnull", "reserved_for", "reserved_for__isnull", "created_at__gte", "created_at__lt"),
        *("prompt__language", "prompt__use_case", "prompt__kind", "prompt__split", "prompt__source"),
        *("responses__author__name",),
    }
)
"""Of open tasks, by which a selection chooses."""


def plan_task_change(
    *, project: Project, by: User | None, selection: Mapping[str, Any], values: Mapping[str, Any]
) -> TaskChange:
    """Give the project's open tasks of a selection a "priority", a labeler they are "reserved_for", a "skill", or the
    number of "judgments_wanted".

    selection: LOOKUPS with their values (JSON), all of which hold; empty for every open task. values: {"priority": 5},
    {"reserved_for": number of a user, or None}, {"skill": number, or None}, {"judgments_wanted": 3}, one or several of
    these. Leases that are out stay good; a task that has enough judgments already is complete. `by` None: Hone itself.
    What is planned is carried out, whoever dies; `begin_task_change` follows after the caller's transaction. Raises
    NotYours, and Refused with a sentence.
    """
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    _check_selection(project, selection)
    _check_values(project, values)
    with transaction.atomic():
        if "judgments_wanted" in values:
            _check_that_no_overlap_is_under_way(project)
        last = Task.with_unfinished.filter(project=project).aggregate(last=Max("pk"))["last"] or 0
        change = TaskChange.objects.create(
            project=project, selection=dict(selection), values=dict(values), until_task=last, created_by=by
        )
        audit.record(
            verb="tasks.changed",
            actor=by,
            subject=change,
            project=project,
            selection=dict(selection),
            values=dict(values),
        )
    return change


def release_reserved(*, labeler: User, project: Project) -> TaskChange | None:
    """Let anybody have the tasks that are reserved for a labeler, as when they leave the project; None if there are
    none. `begin_task_change` follows after the caller's transaction."""
    if not Task.objects.filter(reserved_for=labeler, project=project, state=Task.State.OPEN).exists():
        return None
    selection = {"reserved_for": labeler.pk}
    return plan_task_change(project=project, by=None, selection=selection, values={"reserved_for": None})


def begin_task_change(change: TaskChange) -> None:
    """Carry out a planned change: the first tasks now, the rest by a job."""
    run_task_change(change.pk, most=AT_ONCE)
    change.refresh_from_db()


def run_task_change(change_id: int, *, most: int | None = None) -> None:
    """Carry a change into the tasks, unless another job is at work on it, an earlier one of the project comes first, or
    it is dealt with. With `most`, of so many tasks at once; a job is asked for when there are more."""
    if (lease := JobLease.taken(_first_of_projects(timezone.now()), change_id)) is None:
        return
    change = TaskChange.objects.select_related("project").get(pk=change_id)
    pace, restarted, dealt_with = Pace(), time.monotonic(), 0
    while tasks := list(_left(change).values_list("pk", flat=True)[: pace.size]):
        for batch in pace.batches(tasks):
            with pace.transaction():
                if not lease.renew():
                    return
                lease.renew(last_task=batch[-1], tasks_changed=F("tasks_changed") + _give(change, batch))
        change.last_task, dealt_with = tasks[-1], dealt_with + len(tasks)
        if most is not None and dealt_with >= most and _left(change).exists():
            if lease.put_back():
                transaction.on_commit(lambda: _ask_for(change_id))
            return
        if time.monotonic() - restarted > RESTART_SECONDS:
            raise_epoch(project_id=change.project_id)
            restarted = time.monotonic()
    # Before it is done, or a job that dies in between leaves labelers where they had come to.
    raise_epoch(project_id=change.project_id)
    lease.end(state=State.DONE)
    following = TaskChange.objects.filter(project=change.project_id, state=State.WAITING, pk__gt=change_id)
    if (number := following.order_by("pk").values_list("pk", flat=True).first()) is not None:
        transaction.on_commit(lambda: _ask_for(number))


def abandoned_task_changes(*, now: datetime) -> QuerySet[TaskChange]:
    """Changes that wait for nothing but a job, or whose job died."""
    return _first_of_projects(now).order_by("pk")


def _first_of_projects(now: datetime) -> QuerySet[TaskChange]:
    """Of two changes of the same tasks the later one holds, so each waits for those before it."""
    earlier = TaskChange.objects.filter(
        project=OuterRef("project"), pk__lt=OuterRef("pk"), state__in=TaskChange.UNFINISHED
    )
    return TaskChange.objects.filter(TaskChange.is_free(now), ~Exists(earlier))


def _left(change: TaskChange) -> QuerySet[Task]:
    tasks = Task.objects.filter(
        project=change.project_id, state=Task.State.OPEN, pk__gt=change.last_task, pk__lte=change.until_task
    )
    tasks = tasks.filter(**change.selection).order_by("pk")
    return tasks.distinct() if "responses__author__name" in change.selection else tasks


def _give(change: TaskChange, batch: list[int]) -> int:
    """Change these tasks, locked in the order of their numbers as everywhere; returns how many."""
    open_tasks = Task.objects.filter(pk__in=batch, state=Task.State.OPEN).order_by("pk")
    locked = list(open_tasks.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
    values = dict(change.values)
    if (wanted := values.pop("judgments_wanted", None)) is not None:
        values |= overlap.wanting(wanted, adaptive=change.project.adaptive_overlap)
    return Task.objects.filter(pk__in=locked).update(**values)


def _check_selection(project: Project, selection: Mapping[str, Any]) -> None:
    if unknown := sorted(set(selection) - LOOKUPS):
        raise Refused(_("Tasks aren’t selected by %(names)s.") % {"names": ", ".join(unknown)}, status=400)
    if len(selection.get("pk__in", ())) > MOST_NAMED:
        raise Refused(
            _("Name %(most)d tasks at most, or select them by what they are.") % {"most": MOST_NAMED}, status=400
        )
    try:
        Task.objects.filter(project=project, **selection)[:1].exists()
    except (FieldError, TypeError, ValueError, OverflowError):
        raise Refused(_("The selection of tasks has a value that can’t be."), status=400) from None


def _check_values(project: Project, values: Mapping[str, Any]) -> None:
    if not values or set(values) - {"priority", "reserved_for", "skill", "judgments_wanted"}:
        raise Refused(_("Say a priority, a labeler, a skill or a number of judgments."), status=400)
    if "judgments_wanted" in values:
        _check_judgments_wanted(project, values["judgments_wanted"])
    if "priority" in values and not (
        type(values["priority"]) is int and -MOST_PRIORITY <= values["priority"] <= MOST_PRIORITY
    ):
        raise Refused(_("A priority is a number from -%(most)d to %(most)d.") % {"most": MOST_PRIORITY}, status=400)
    if values.get("reserved_for") is not None:
        named = Membership.objects.filter(project=project, user=values["reserved_for"], role__in=LABELING_ROLES)
        if not named.exists():
            raise Refused(_("Tasks are reserved for somebody who labels in this project."), status=400)
    if values.get("skill") is not None and not Skill.objects.filter(project=project, pk=values["skill"]).exists():
        raise Refused(_("This project has no such skill."), status=400)


def _check_judgments_wanted(project: Project, wanted: Any) -> None:
    if type(wanted) is not int or wanted < 1:
        raise Refused(_("A task wants at least 1 judgment: withdraw tasks that nobody is to judge."), status=400)
    if wanted > (people := count_people_who_judge(project)):
        raise Refused(too_many_judgments(wanted, people), status=400)


def _check_that_no_overlap_is_under_way(project: Project) -> None:
    """Locks the project, so that of this and a new overlap one is the later. That one would go on after this."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if OverlapChange.objects.filter(project=project, state__in=OverlapChange.UNFINISHED).exists():
        raise Refused(
            _("A new overlap is being applied to all tasks: change single ones when that is done."), status=409
        )


def _ask_for(change_id: int) -> None:
    signals.tasks_changed.send_robust(sender=TaskChange, change_id=change_id)
