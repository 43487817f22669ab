"""Leases: which labeler holds which task, and for how long."""

import random
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.errors import NotYours, Refused
from annotate.labeling.checks import lane
from annotate.labeling.qualification import is_qualified
from annotate.labeling.queue.slot_search import START, Further, look_further, take_slot
from annotate.labeling.queue.work_rules import WorkRules
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Project, QueueCursor, Task, TaskResponse, User
from annotate.models.prepared_queries import Update, insert, prepared_query, prepared_update

State = Assignment.State
MOST_LOOKS = 20
"""Searches of one claim that go on without locks, each because others took what the one before had found."""


def claim_next(*, labeler: User, project: Project, ahead: bool = True) -> Assignment | None:
    """The labeler's current task: the one they hold with its lease renewed, else the one ahead, else a new one.

    Leases one more ahead, so that the next page can be made before it is asked for; without `ahead` that is left to
    `lease_ahead`, which the page asks for while the labeler reads. None when nothing is left that they may be given:
    `work_rules.why_no_work` says why.
    """
    if not is_given_work(labeler=labeler, project=project):
        return None
    return _looked_for(lambda further: _claimed(labeler, project, ahead, further))


def _claimed(labeler: User, project: Project, ahead: bool, further: Further | None) -> Assignment | Further | None:
    with transaction.atomic():
        cursor = locked_cursor(labeler=labeler, project=project)
        current, following = locked_leases(labeler=labeler, project=project)
        if current is None and following is not None:
            current, following = following, None
        rules = WorkRules(labeler=labeler, project=project)
        lease: dict[str, Any] = {"labeler": labeler, "project": project, "cursor": cursor, "rules": rules}
        if current is not None:
            renew(current, state=State.CURRENT)
        else:
            last = _last_task(labeler=labeler, project=project)
            found = lease_next(**lease, state=State.CURRENT, wait=True, after=last, further=further)
            if isinstance(found, Further):
                return found
            current = found
        if following is not None:
            renew(following, state=State.AHEAD)
        elif ahead and current is not None:
            # It is not waited or searched far for, and the current task may be locked by now.
            lease_next(**lease, state=State.AHEAD, wait=False, after=current.task)
        return current


def lease_ahead(*, labeler: User, project: Project) -> Assignment | None:
    """The task after the current one, leased now if it wasn't. None without a current task, or when nothing is left."""
    if not is_given_work(labeler=labeler, project=project):
        return None
    return _looked_for(lambda further: _leased_ahead(labeler, project, further))


def _leased_ahead(labeler: User, project: Project, further: Further | None) -> Assignment | Further | None:
    with transaction.atomic():
        cursor = locked_cursor(labeler=labeler, project=project)
        current, following = locked_leases(labeler=labeler, project=project)
        if following is not None:
            renew(following, state=State.AHEAD)
            return following
        if current is None:
            return None
        return lease_next(
            labeler=labeler,
            project=project,
            cursor=cursor,
            state=State.AHEAD,
            wait=False,
            after=current.task,
            further=further,
        )


def _looked_for(lease: Callable[[Further | None], Assignment | Further | None]) -> Assignment | None:
    """What `lease` gives, a transaction of its own, which is called again where a search has to go on without locks."""
    further = None
    for _look in range(MOST_LOOKS):
        found = lease(further)
        if not isinstance(found, Further):
            return found
        further = look_further(found)
    return None


def look_ahead(*, labeler: User, project: Project) -> Assignment | None:
    """The task that comes after the current one, if one is leased."""
    return held(labeler=labeler, project=project).filter(state=State.AHEAD).first()


def release_expired(*, now: datetime | None = None) -> int:
    """Take back every task whose lease ran out; returns how many. Drafts stay, and a late submit is still taken."""
    now = now or timezone.now()
    expired = Assignment.objects.filter(ended_at=None, state__in=Assignment.HELD, lease_until__lt=now).order_by("pk")
    released = 0
    for assignment_id in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            # Looked at again under the lock: the labeler may have come back meanwhile.
            assignment = expired.select_for_update(of=("self",), no_key=True).filter(pk=assignment_id).first()
            if assignment is not None:
                end(assignment, state=State.EXPIRED)
                released += 1
    if released:
        signals.leases_expired.send(Assignment, number=released)
    return released


def release_held(*, labeler: User, project: Project) -> int:
    """End all leases of a labeler in a project, as when they leave it; returns how many."""
    with transaction.atomic():
        leases = held(labeler=labeler, project=project).select_for_update(of=("self",), no_key=True)
        assignments = list(leases.order_by("task_id"))
        for assignment in assignments:
            end(assignment, state=State.EXPIRED)
    return len(assignments)


def lock_claims(*, labeler: User, project: Project) -> None:
    """Until the transaction ends, this labeler is given nothing: a claim of theirs that is under way ends first."""
    locked_cursor(labeler=labeler, project=project)


def look_again(*, labeler: User, project: Project) -> None:
    """Let one labeler look at the whole queue again: other tasks are for them now."""
    QueueCursor.objects.filter(labeler=labeler, project=project).update(position=START)


# ---- for the other modules of the queue: all inside their transaction --------------------------------------------


def is_given_work(*, labeler: User, project: Project) -> bool:
    """Whether the queue gives this labeler anything at all."""
    return project.archived_at is None and is_qualified(user=labeler, project=project)


def held(*, labeler: User, project: Project) -> QuerySet[Assignment]:
    # A lease that is out has no end yet: by this the index of a labeler's history finds it at once, however long it is.
    leases = Assignment.objects.filter(labeler=labeler, project=project, ended_at=None, state__in=Assignment.HELD)
    return leases.select_related("task", "task__prompt", "project")


def locked_leases(*, labeler: User, project: Project) -> tuple[Assignment | None, Assignment | None]:
    """(current, ahead), locked, so that a lease which is being submitted or taken back isn't handed out again."""
    leases = held(labeler=labeler, project=project).select_for_update(of=("self",), no_key=True)
    by_state = {}
    for assignment in leases.select_related(None).select_related("task", "task__prompt"):
        assignment.project, assignment.labeler = project, labeler
        by_state[assignment.state] = assignment
    return by_state.get(State.CURRENT), by_state.get(State.AHEAD)


def locked_assignment(*, assignment_id: int, labeler: User) -> Assignment:
    """The labeler's own assignment, locked until the transaction ends. Raises Refused (404) or NotYours (403)."""
    related = Assignment.objects.select_related("task", "task__prompt", "project")
    known = related.filter(pk=assignment_id).first()
    if known is None:
        raise Refused(_("There is no such task."), status=404)
    if known.labeler_id != labeler.pk:
        raise NotYours(_("This task was given to somebody else."))
    locked_cursor(labeler=labeler, project=known.project_id)
    locked = Assignment.objects.select_for_update(of=("self",), no_key=True).select_related("judgment")
    assignment = locked.get(pk=known.pk)
    # What is read here of the task and the project doesn't change, or is changed by updates that look again.
    assignment.task, assignment.project, assignment.labeler = known.task, known.project, labeler
    return assignment


def locked_work(known: Assignment) -> tuple[Assignment, Assignment | None]:
    """This assignment, locked as by `locked_assignment`, and another one that its labeler holds, the current before the
    one ahead. The cursor is locked already. All leases are locked before any task, as everywhere."""
    leases = _locked_held.all(labeler=known.labeler_id, project=known.project_id)
    found = {lease.pk: lease for lease in leases}
    # Not held any more where it comes late, or is a revision. Not in one query: SQLite would read all assignments.
    own = found.pop(known.pk, None) or _locked_with_judgments().get(pk=known.pk)
    for assignment in (own, *found.values()):
        assignment.project, assignment.labeler = known.project, known.labeler
    by_state = {lease.state: lease for lease in found.values()}
    return own, by_state.get(State.CURRENT) or by_state.get(State.AHEAD)


def _locked_with_judgments() -> QuerySet[Assignment]:
    locked = Assignment.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("task__prompt", "judgment")


@prepared_query
def _locked_held(labeler: int, project: int) -> QuerySet[Assignment]:
    leases = _locked_with_judgments().filter(labeler_id=labeler, project_id=project, ended_at=None)
    return leases.filter(state__in=Assignment.HELD).order_by()


def locked_cursor(*, labeler: User, project: Project | int) -> QueueCursor:
    """The labeler's position in the project's queue, created at their first claim. `project` may be an id.

    `queue_epoch` and `reopened_count` are the project's, read before anything else: what comes free later leaves
    others behind. `lapsed_check`: see checks.lane.
    """
    project_id = project if isinstance(project, int) else project.pk
    whose: dict[str, Any] = {"labeler": labeler.pk, "project": project_id}
    query = _locked_cursors
    if isinstance(project, Project) and lane.gives_checks(project):
        query = _cursors_with_lapsed_checks
        whose["spared"] = visibility.is_spared(labeler, project)
    if (cursor := query.first(**whose)) is None:
        QueueCursor.objects.get_or_create(
            labeler=labeler, project_id=project_id, defaults={"position": START, "epoch": 0}
        )
        cursor = query.first(**whose)
        assert cursor is not None
    return cursor


@prepared_query
def _locked_cursors(labeler: int, project: int) -> QuerySet[QueueCursor]:
    cursors = QueueCursor.objects.filter(labeler_id=labeler, project_id=project).order_by()
    return cursors.select_for_update(of=("self",), no_key=True).annotate(
        queue_epoch=F("project__queue_epoch"), reopened_count=F("project__reopened_count")
    )


@prepared_query
def _cursors_with_lapsed_checks(labeler: int, project: int, spared: bool) -> QuerySet[QueueCursor]:
    lapsed = lane.lapsed_check(labeler=labeler, project=project, spared=spared)
    return _locked_cursors.build(labeler, project).annotate(lapsed_check=lapsed)


def end(assignment: Assignment, *, state: str, **values: Any) -> None:
    """End a locked assignment that wasn't judged. A place that it held becomes free, if the task still wants it."""
    was_held = assignment.state in Assignment.HELD
    assignment.state, assignment.ended_at = state, timezone.now()
    for name, value in values.items():
        setattr(assignment, name, value)
    assignment.save(update_fields=["state", "ended_at", *values])
    if not was_held:
        return
    task = Task.objects.select_for_update(no_key=True).get(pk=assignment.task_id)
    # Counted and not just raised by one: the overlap may have been lowered while more leases were out.
    leases = task.assignments.filter(state__in=Assignment.HELD, is_check=False).count()
    no_slots = (*Task.CHECKS, Task.State.EVALUATED)
    free = 0 if task.state in no_slots else max(0, task.judgments_wanted - task.judgments_given - leases)
    if task.state == Task.State.EVALUATION:
        lane.count_places(task)
        return
    Task.objects.filter(pk=task.pk).filter(~Q(slots_free=free)).update(slots_free=free)
    reopen(task)


def raise_epoch(*, project_id: int) -> None:
    """Let every labeler look at the whole queue again: tasks appeared or places came free."""
    Project.objects.filter(pk=project_id).update(queue_epoch=F("queue_epoch") + 1)


def reopen(task: Task) -> None:
    """Let every labeler who has come past this task look at it again, and at no other."""
    projects = Project.objects.filter(pk=task.project_id)
    projects.update(reopened_count=F("reopened_count") + 1)
    # The project is locked now, so the number is this task's own, and whoever sees it sees the task as it is.
    Task.with_unfinished.filter(pk=task.pk).update(reopened=projects.values_list("reopened_count", flat=True).get())


def lease_end(project: Project) -> datetime:
    return timezone.now() + timedelta(minutes=project.lease_minutes)


def renew(assignment: Assignment, *, state: str) -> None:
    opened = {"opened_at": timezone.now()} if state == State.CURRENT and assignment.opened_at is None else {}
    for name, value in {"state": state, "lease_until": lease_end(assignment.project), **opened}.items():
        setattr(assignment, name, value)
    assignment.save(update_fields=["state", "lease_until", *opened])


def lease_next(
    *,
    labeler: User,
    project: Project,
    cursor: QueueCursor,
    state: str,
    wait: bool,
    after: Task | None,
    rules: WorkRules | None = None,
    further: Further | None = None,
) -> Assignment | Further | None:
    """Lease the next task to the labeler, as the current one or the one ahead: a hidden check, or one of the queue.

    `after` is the one that they had before: a task of another prompt comes next, if there is one. `rules` are read
    where they aren't given. A search that is too long for a transaction comes back, for `look_further` after it; what
    that gives is the next call's `further`.
    """
    rules = rules or WorkRules(labeler=labeler, project=project)
    if not rules.allow_more(held=0 if state == State.CURRENT else 1):
        return None
    check = lane.next_check(rules, cursor=cursor, after=after)
    if check is not None:
        task = check.task
    elif isinstance(found := take_slot(rules, cursor=cursor, wait=wait, after=after, further=further), Task):
        task = found
    elif (check := lane.left_of_evaluation(rules, cursor=cursor)) is not None:
        task = check.task
    else:
        return found
    transaction.on_commit(_report_claim)
    now = timezone.now()
    lease = {
        "is_check": check is not None,
        "state": state,
        "lease_until": lease_end(project),
        "opened_at": now if state == State.CURRENT else None,
        "ended_at": None,
    }
    # A repeat was made just now: nobody had it before, and its responses are known.
    responses = None if check is None else check.responses
    if responses is None and _lease_again(task=task.pk, labeler=labeler.pk, **lease):
        # Their lease ran out before: the order of the responses and the draft are still there.
        return held(labeler=labeler, project=project).get(task=task)
    order = shuffled(task, responses)
    return insert(Assignment(task=task, labeler=labeler, project=project, **order, **lease))


def _report_claim() -> None:
    signals.tasks_claimed.send(Assignment, number=1)


def shuffled(task: Task, responses: list[int] | None = None) -> dict[str, Any]:
    """An order of the task's responses for somebody who gets it, with its seed. They are read where not given."""
    seed = secrets.randbits(63)
    if responses is None:
        responses = [shown.response_id for shown in _shown_responses.all(task=task.pk)]
    presentation = list(responses)
    random.Random(seed).shuffle(presentation)
    return {"seed": seed, "presentation": presentation}


@prepared_query
def _shown_responses(task: int) -> QuerySet[TaskResponse]:
    return TaskResponse.objects.filter(task_id=task).order_by("number").only("response_id")


@prepared_update
def _lease_again(task: int, labeler: int, **lease: Any) -> Update:
    return Assignment.objects.filter(task_id=task, labeler_id=labeler, state=State.EXPIRED), lease


def _last_task(*, labeler: User, project: Project) -> Task | None:
    """The one that the labeler submitted or skipped last."""
    ended = Assignment.objects.filter(labeler=labeler, project=project, ended_at__isnull=False)
    last = ended.filter(state__in=[State.SUBMITTED, State.SKIPPED]).order_by("-ended_at").select_related("task").first()
    return None if last is None else last.task
