"""Leases: which labeler holds which task, and for how long."""

import random
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import NotYours, Refused
from annotate.labeling.checks import lane
from annotate.labeling.qualification import is_qualified
from annotate.labeling.queue.work_rules import WorkRules, for_labeler
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Project, QueueCursor, Task, TaskResponse, User
from annotate.models.prepared_queries import Update, insert, prepared_query, prepared_update

State = Assignment.State
# Positions before and behind every task's (they fit in 64 bits, see Task.position).
START, END = -(2**63), 2**63 - 1
MOST_LOOKED_AT = 500
"""Tasks among which one of another prompt than the last one's is looked for."""


def claim_next(*, labeler: User, project: Project, ahead: bool = True) -> Assignment | None:
    """The labeler's current task: the one they hold with its lease renewed, else the one ahead, else a new one.

    Leases one more ahead, so that the next page can be made before it is asked for; without `ahead` that is left to
    `lease_ahead`, which the page asks for while the labeler reads. None when nothing is left that they may be given:
    `work_rules.why_no_work` says why.
    """
    if not is_given_work(labeler=labeler, project=project):
        return None
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
            current = lease_next(**lease, state=State.CURRENT, wait=True, after=last)
        if following is not None:
            renew(following, state=State.AHEAD)
        elif ahead and current is not None:
            # Not worth waiting for, and the current task may be locked by now.
            lease_next(**lease, state=State.AHEAD, wait=False, after=current.task)
        return current


def lease_ahead(*, labeler: User, project: Project) -> Assignment | None:
    """The task after the current one, leased now if it wasn't. None without a current task, or when nothing is left."""
    if not is_given_work(labeler=labeler, project=project):
        return None
    with transaction.atomic():
        cursor = locked_cursor(labeler=labeler, project=project)
        current, following = locked_leases(labeler=labeler, project=project)
        if following is not None:
            renew(following, state=State.AHEAD)
        elif current is not None:
            following = lease_next(
                labeler=labeler, project=project, cursor=cursor, state=State.AHEAD, wait=False, after=current.task
            )
        return following


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
) -> Assignment | None:
    """Lease the next task to the labeler, as the current one or the one ahead: a hidden check, or one of the queue.

    `after` is the one that they had before: a task of another prompt comes next, if there is one. `rules` are read
    where they aren't given.
    """
    rules = rules or WorkRules(labeler=labeler, project=project)
    if not rules.allow_more(held=0 if state == State.CURRENT else 1):
        return None
    check = lane.next_check(rules, cursor=cursor, after=after)
    if check is not None:
        task = check.task
    elif (found := _take_slot(rules, cursor=cursor, wait=wait, after=after)) is not None:
        task = found
    elif (check := lane.left_of_evaluation(rules, cursor=cursor)) is not None:
        task = check.task
    else:
        return None
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


def _take_slot(rules: WorkRules, *, cursor: QueueCursor, wait: bool, after: Task | None) -> Task | None:
    """Take a slot of the first task that the labeler hasn't seen, or whose lease of theirs ran out.

    The search begins with what came free again in tasks that the labeler has come past, goes on where the last one
    ended, so that it skips what was judged, and begins once more from the front if nothing is left there.
    Tasks that others have locked are passed by; `wait` waits for them when there are no others.
    """
    epoch, reopened_count = cursor.queue_epoch, cursor.reopened_count  # type: ignore[attr-defined]  # see locked_cursor
    start = cursor.position if cursor.epoch == epoch else START
    searched = _searched(rules, cursor=cursor)
    places: list[dict[str, Any]] = [{"above": place} for place in dict.fromkeys((start, START)) if start != END]
    reopened = start != START and cursor.reopened_seen < reopened_count
    if reopened:
        places.insert(0, {"reopened_after": cursor.reopened_seen, "up_to": start})
    found = ((number, task) for number, place in enumerate(places) if (task := _unlocked.first(**searched, **place)))
    number, task = next(found, (len(places), None))
    searches = (_candidates(**searched, **place) for place in places)
    # What is left is locked by others, who may not take its last place: wait for it instead of saying there is nothing.
    for search in searches if task is None else []:
        while task is None and (locked := search.values_list("pk", flat=True).first()) is not None:
            if not wait:
                return None
            task = _waited_for(search, locked)
    came_again = reopened and number == 0 and task is not None
    position = END if task is None else task.position
    if task is not None and after is not None and task.prompt_id is not None and task.prompt_id == after.prompt_id:
        others = (_of_another_prompt(_candidates(**searched, **place), task) for place in places)
        if (other := next(filter(None, others), None)) is not None:
            # The one of the same prompt is the first of the next search.
            position, task = position - 1, other
    if task is not None:
        if _take_place(task=task.pk) != 1:
            raise RuntimeError(f"task {task.pk} lost its free place while it was locked")
        task.slots_free -= 1
    place: dict[str, int] = {}
    if not came_again:
        cursor.position, cursor.epoch, cursor.reopened_seen = position, epoch, reopened_count
        place |= {"position": position, "epoch": epoch, "reopened_seen": reopened_count}
    if task is not None and lane.is_on(rules.project, cursor):
        # This task's draw, see checks.draws. Where there was no task, asking again asks for the same draw.
        cursor.draws += 1
        place |= {"draws": cursor.draws, "calibrated": cursor.calibrated}
    if place:
        _keep_cursor(cursor=cursor.pk, **place)
    return task


@prepared_update
def _take_place(task: int) -> Update:
    free = Task.objects.filter(pk=task, state=Task.State.OPEN, slots_free__gt=0)
    return free, {"slots_free": F("slots_free") - 1}


@prepared_update
def _keep_cursor(cursor: int, **place: int) -> Update:
    return QueueCursor.objects.filter(pk=cursor), place


def _waited_for(search: QuerySet[Task], number: int) -> Task | None:
    """The task, locked, once nobody else has locked it; None where the search doesn't find it any more."""
    with transaction.atomic():
        task = search.filter(pk=number).select_for_update(of=("self",), no_key=True).first()
        if task is None:
            # PostgreSQL keeps the lock of a row that it waited for and then left out. Whoever went on to wait for the
            # next one with it could wait for somebody who waits for this one.
            transaction.set_rollback(True)
    return task


def _of_another_prompt(search: QuerySet[Task], task: Task) -> Task | None:
    """The first of the next MOST_LOOKED_AT tasks that has another prompt and that nobody has locked."""
    coming = search.values_list("pk", "prompt")[:MOST_LOOKED_AT]
    others = search.filter(pk__in=[number for number, prompt in coming if prompt != task.prompt_id])
    return others.select_for_update(skip_locked=True, of=("self",), no_key=True).first()


def _last_task(*, labeler: User, project: Project) -> Task | None:
    """The one that the labeler submitted or skipped last."""
    ended = Assignment.objects.filter(labeler=labeler, project=project, ended_at__isnull=False)
    last = ended.filter(state__in=[State.SUBMITTED, State.SKIPPED]).order_by("-ended_at").select_related("task").first()
    return None if last is None else last.task


def _searched(rules: WorkRules, *, cursor: QueueCursor) -> dict[str, Any]:
    """What decides which tasks the labeler may be given."""
    project = rules.project
    return {
        "labeler": rules.labeler.pk,
        "project": project.pk,
        "kinds": (cursor.kind,) if cursor.kind in project.task_kinds else tuple(project.task_kinds),
        "is_spared": visibility.is_spared(rules.labeler, project),
        "skills": rules.skills,
        "languages": rules.languages,
    }


def _candidates(
    labeler: int,
    project: int,
    kinds: tuple[str, ...],
    is_spared: bool,
    skills: frozenset[int],
    languages: frozenset[str],
    **place: int,
) -> QuerySet[Task]:
    """The tasks that the labeler may be given, in the order of the queue: above a place, or those up to it of which
    places came free again."""
    # A lease that ran out doesn't count as seen: the labeler gets the task again.
    seen = Assignment.objects.filter(task=OuterRef("pk"), labeler=labeler).exclude(state=State.EXPIRED)
    tasks = Task.objects.filter(~Exists(seen), project=project, state=Task.State.OPEN, slots_free__gt=0, kind__in=kinds)
    tasks = for_labeler(
        visibility.unmarked(tasks) if is_spared else tasks, labeler=labeler, skills=skills, languages=languages
    )
    if "above" in place:
        tasks = tasks.filter(position__gt=place["above"])
    else:
        tasks = tasks.filter(reopened__gt=place["reopened_after"], position__lte=place["up_to"])
    return tasks.select_related("prompt").order_by("position")


@prepared_query
def _unlocked(**searched: Any) -> QuerySet[Task]:
    """The first of the candidates that nobody has locked."""
    return _candidates(**searched).select_for_update(skip_locked=True, of=("self",), no_key=True)[:1]
