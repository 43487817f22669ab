"""The labeling queue: lease a task, keep what was entered, submit it, skip it, take back what nobody finished.

Rules that hold at any moment, on PostgreSQL and on SQLite:
- A task is never leased to more labelers than it wants judgments. `Task.slots_free` only changes together with an
  assignment, in one transaction, by an update that checks the changed row.
- A labeler holds at most one current task and one ahead per project; asking again gives the same one.
- No judgment that was sent is refused for being late, and a repeated one is the same one.

Locks are taken in the order cursor, assignment, task, project, and nobody waits for a task while he holds another one
with a higher number, so two requests never wait for each other. The cursor makes a labeler's own requests, from all
his browser tabs, go one after the other.
SQLite takes its one write lock at BEGIN (transaction_mode IMMEDIATE), which makes `select_for_update` needless there.
"""

import random
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from annotate import signals, text
from annotate.errors import NotYours, Refused
from annotate.models import Assignment, Judgment, Project, Prompt, QueueCursor, Response, Task, TaskResponse, User
from annotate.ordering import Ordering
from annotate.submission import Receipt, Submission, checked_revision

__all__ = [
    "Receipt",
    "Submission",
    "add_comparison",
    "claim_next",
    "look_ahead",
    "release_expired",
    "release_held",
    "save_draft",
    "set_overlap",
    "skip",
    "submit",
]

State = Assignment.State
# Positions before and behind every task's (they fit in 64 bits, see Task.position).
START, END = -(2**63), 2**63 - 1
LONGEST_DRAFT = 400_000
LONGEST_REASON = 500


def claim_next(*, labeler: User, project: Project) -> Assignment | None:
    """The task the labeler works on: the one he holds with its lease renewed, else the one ahead, else a new one.

    Leases one more ahead, so that the next page can be made before it is asked for. None when nothing is left for him.
    """
    if project.archived_at is not None:
        return None
    with transaction.atomic():
        cursor = _locked_cursor(labeler=labeler, project=project)
        # Locked, so that a lease which is being submitted or taken back at this moment isn't handed out again.
        leases = _held(labeler=labeler, project=project).select_for_update(of=("self",), no_key=True)
        held = {assignment.state: assignment for assignment in leases}
        current = held.get(State.CURRENT)
        ahead = held.get(State.AHEAD)
        if current is None and ahead is not None:
            current, ahead = ahead, None
        if current is not None:
            _renew(current, project=project, state=State.CURRENT)
        else:
            current = _lease(labeler=labeler, project=project, cursor=cursor, state=State.CURRENT, wait=True)
        if ahead is not None:
            _renew(ahead, project=project, state=State.AHEAD)
        elif current is not None:
            # Not worth waiting for, and the current task may be locked by now.
            _lease(labeler=labeler, project=project, cursor=cursor, state=State.AHEAD, wait=False)
        return current


def submit(*, assignment_id: int, labeler: User, submission: Submission) -> Receipt:
    """Store a judgment, or a revision of one that was given before.

    A repeated `client_id` gives the first receipt again. After the lease ran out the judgment takes a free place of the
    task again, or is kept beyond the overlap (`surplus`) when others have taken them all.
    Raises Refused (404), NotYours, UnknownResponse, InvalidOrdering; the draft stays as it was.
    """
    with transaction.atomic():
        assignment = _locked_assignment(assignment_id=assignment_id, labeler=labeler)
        judgment = Judgment.objects.filter(assignment=assignment).first()
        if judgment is not None:
            earlier = judgment.revisions.filter(client_id=submission.client_id).first()
            if earlier is not None:
                return Receipt(judgment=judgment, revision=earlier, repeated=True, surplus=judgment.surplus)
        revision = checked_revision(submission, assignment=assignment)
        if judgment is None:
            judgment = Judgment.objects.create(
                assignment=assignment,
                task_id=assignment.task_id,
                labeler=labeler,
                project_id=assignment.project_id,
                surplus=not _count_judgment(assignment),
            )
        latest = judgment.latest
        revision.judgment, revision.number = judgment, 1 if latest is None else latest.number + 1
        revision.save()
        judgment.latest = revision
        judgment.save(update_fields=["latest"])
        assignment.state, assignment.ended_at = State.SUBMITTED, timezone.now()
        assignment.save(update_fields=["state", "ended_at"])
        # Robust: whoever listens can't undo what was acknowledged.
        told = {"sender": Judgment, "project_id": judgment.project_id, "judgment_id": judgment.pk}
        transaction.on_commit(lambda: signals.judgment_submitted.send_robust(**told))
    return Receipt(judgment=judgment, revision=revision, repeated=False, surplus=judgment.surplus)


def look_ahead(*, labeler: User, project: Project) -> Assignment | None:
    """The task that comes after the current one, if one is leased; `claim_next` leases it."""
    return _held(labeler=labeler, project=project).filter(state=State.AHEAD).first()


def skip(*, assignment_id: int, labeler: User, reason: str = "") -> Assignment:
    """Give a task back unjudged; the labeler doesn't get it again, others do. A repeated skip changes nothing."""
    reason = text.checked(reason.strip(), name="The reason", longest=LONGEST_REASON)
    with transaction.atomic():
        assignment = _locked_assignment(assignment_id=assignment_id, labeler=labeler)
        if assignment.state == State.SUBMITTED:
            raise Refused("You have submitted this task already, so it can't be skipped. Your judgment is kept.")
        if assignment.state != State.SKIPPED:
            _end(assignment, state=State.SKIPPED, skip_reason=reason)
        return assignment


def save_draft(*, assignment_id: int, labeler: User, draft: dict[str, Any]) -> bool:
    """Keep what was entered so far and renew the lease. False when the task is over, so the draft is of no use."""
    text.checked_object(draft, name="The draft", longest=LONGEST_DRAFT)
    with transaction.atomic():
        assignment = _locked_assignment(assignment_id=assignment_id, labeler=labeler)
        if assignment.state not in (*Assignment.HELD, State.EXPIRED):
            return False
        assignment.draft = draft
        if assignment.state in Assignment.HELD:
            assignment.lease_until = _lease_end(assignment.project)
        assignment.save(update_fields=["draft", "lease_until"])
        return True


def release_expired(*, now: datetime | None = None) -> int:
    """Take back every task whose lease ran out; returns how many. Drafts stay, and a late submit is still taken."""
    now = now or timezone.now()
    expired = Assignment.objects.filter(state__in=Assignment.HELD, lease_until__lt=now).order_by("pk")
    released = 0
    for assignment_id in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            # Looked at again under the lock: the labeler may have come back meanwhile.
            assignment = expired.select_for_update(of=("self",), no_key=True).filter(pk=assignment_id).first()
            if assignment is not None:
                _end(assignment, state=State.EXPIRED)
                released += 1
    return released


def release_held(*, labeler: User, project: Project) -> int:
    """Take back all that a labeler holds in a project, as when he leaves it; returns how many."""
    with transaction.atomic():
        leases = _held(labeler=labeler, project=project).select_for_update(of=("self",), no_key=True)
        held = list(leases.order_by("task_id"))
        for assignment in held:
            _end(assignment, state=State.EXPIRED)
    return len(held)


def add_comparison(
    *,
    project: Project,
    prompt: Prompt,
    responses: Sequence[Response],
    gold_tiers: Sequence[Sequence[int]] | None = None,
    priority: int = 0,
) -> Task:
    """Queue a task to compare 2 to 9 responses of a prompt, for as many judgments as the project's overlap.

    gold_tiers: a known ordering as tiers of response ids, or None.
    """
    if prompt.project_id != project.pk or any(response.prompt_id != prompt.pk for response in responses):
        raise Refused("A task compares answers to one prompt of its project.", status=400)
    if not Project.MIN_RESPONSES <= len(responses) <= Project.MAX_RESPONSES:
        raise Refused(f"A task compares {Project.MIN_RESPONSES} to {Project.MAX_RESPONSES} answers.", status=400)
    if gold_tiers is not None:
        gold_tiers = Ordering.validated(gold_tiers, [response.pk for response in responses]).tiers
    with transaction.atomic():
        overlap = Project.objects.values_list("overlap", flat=True).get(pk=project.pk)
        task = Task.objects.create(
            project=project,
            prompt=prompt,
            judgments_wanted=overlap,
            slots_free=overlap,
            priority=priority,
            gold_tiers=gold_tiers,
        )
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response=response, number=number) for number, response in enumerate(responses)
        )
        _raise_epoch(project_id=project.pk)
    return task


def set_overlap(*, project: Project, overlap: int) -> int:
    """Make `overlap` the number of judgments wanted, of open tasks too; returns how many tasks changed.

    A task that has enough already is complete. Leases that are out stay good.
    """
    with transaction.atomic():
        tasks = Task.objects.filter(project=project, state=Task.State.OPEN).exclude(judgments_wanted=overlap)
        # Locked first: the update below must count the leases of a claim that is just committing.
        ids = list(tasks.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
        held = (
            Assignment.objects.filter(task=OuterRef("pk"), state__in=Assignment.HELD)
            .order_by()
            .values("task")
            .annotate(held=Count("pk"))
            .values("held")
        )
        changed = tasks.update(
            judgments_wanted=overlap,
            slots_free=Greatest(0, overlap - F("judgments_given") - Coalesce(Subquery(held), 0)),
        )
        Task.objects.filter(pk__in=ids, judgments_given__gte=overlap).update(state=Task.State.COMPLETE)
        Project.objects.filter(pk=project.pk).update(overlap=overlap)
        _raise_epoch(project_id=project.pk)
    return changed


def _locked_assignment(*, assignment_id: int, labeler: User) -> Assignment:
    """The labeler's own assignment, locked until the transaction ends. Raises Refused (404) or NotYours (403)."""
    assignments = Assignment.objects.select_related("project").filter(pk=assignment_id)
    assignment = assignments.first()
    if assignment is None:
        raise Refused("There is no such task.", status=404)
    if assignment.labeler_id != labeler.pk:
        raise NotYours("This task was given to somebody else.")
    _locked_cursor(labeler=labeler, project=assignment.project)
    return assignments.select_for_update(of=("self",), no_key=True).get()


def _count_judgment(assignment: Assignment) -> bool:
    """Count a first judgment towards its task. False if it came late and no place is left."""
    task = Task.objects.filter(pk=assignment.task_id)
    if assignment.state not in Assignment.HELD:
        free = task.filter(state=Task.State.OPEN, slots_free__gt=0)
        if free.update(slots_free=F("slots_free") - 1) != 1:
            return False
    task.update(judgments_given=F("judgments_given") + 1)
    task.filter(state=Task.State.OPEN, judgments_given__gte=F("judgments_wanted")).update(state=Task.State.COMPLETE)
    return True


def _raise_epoch(*, project_id: int) -> None:
    """Let every labeler look at the whole queue again: tasks appeared or places came free."""
    Project.objects.filter(pk=project_id).update(queue_epoch=F("queue_epoch") + 1)


def _held(*, labeler: User, project: Project) -> QuerySet[Assignment]:
    return Assignment.objects.filter(labeler=labeler, project=project, state__in=Assignment.HELD).select_related(
        "task", "task__prompt"
    )


def _lease_end(project: Project) -> datetime:
    return timezone.now() + timedelta(minutes=project.lease_minutes)


def _locked_cursor(*, labeler: User, project: Project) -> QueueCursor:
    cursors = QueueCursor.objects.select_for_update(no_key=True)
    cursor, _ = cursors.get_or_create(
        labeler=labeler, project=project, defaults={"position": START, "epoch": project.queue_epoch}
    )
    return cursor


def _renew(assignment: Assignment, *, project: Project, state: str) -> None:
    opened = {"opened_at": timezone.now()} if state == State.CURRENT and assignment.opened_at is None else {}
    for name, value in {"state": state, "lease_until": _lease_end(project), **opened}.items():
        setattr(assignment, name, value)
    assignment.save(update_fields=["state", "lease_until", *opened])


def _lease(*, labeler: User, project: Project, cursor: QueueCursor, state: str, wait: bool) -> Assignment | None:
    """Take a place of the next task for the labeler, as his current task or the one ahead."""
    task = _take_slot(labeler=labeler, project=project, cursor=cursor, wait=wait)
    if task is None:
        return None
    now = timezone.now()
    lease = {
        "state": state,
        "lease_until": _lease_end(project),
        "opened_at": now if state == State.CURRENT else None,
        "ended_at": None,
    }
    # He may have had it before and let the lease run out: then his order and his draft are still there.
    if Assignment.objects.filter(task=task, labeler=labeler, state=State.EXPIRED).update(**lease):
        return _held(labeler=labeler, project=project).get(task=task)
    seed = secrets.randbits(63)
    presentation = list(task.task_responses.values_list("response_id", flat=True))
    random.Random(seed).shuffle(presentation)
    return Assignment.objects.create(
        task=task, labeler=labeler, project=project, seed=seed, presentation=presentation, **lease
    )


def _take_slot(*, labeler: User, project: Project, cursor: QueueCursor, wait: bool) -> Task | None:
    """Find the first task with a free place that the labeler hasn't seen, and take the place.

    The search begins where his last one ended, so it doesn't walk over all he has judged, and once more from the front
    if nothing is left there. The epoch is read first: whatever comes free after this line leaves another epoch behind.
    Tasks that others have locked are passed by; `wait` waits for them when there are no others.
    """
    epoch = Project.objects.values_list("queue_epoch", flat=True).get(pk=project.pk)
    start = cursor.position if cursor.epoch == epoch else START
    if start == END:
        return None
    # His own leases that ran out don't count as seen: he gets those tasks again.
    seen = Assignment.objects.filter(task=OuterRef("pk"), labeler=labeler).exclude(state=State.EXPIRED)
    candidates = (
        Task.objects.filter(
            ~Exists(seen), project=project, state=Task.State.OPEN, slots_free__gt=0, kind__in=project.task_kinds
        )
        .select_related("prompt")
        .order_by("position")
    )
    task = None
    for after in dict.fromkeys((start, START)):
        unlocked = candidates.filter(position__gt=after).select_for_update(skip_locked=True, of=("self",), no_key=True)
        if (task := unlocked.first()) is not None:
            break
    # What is left is locked by others, who may not take its last place: wait for it instead of saying there is nothing.
    while task is None and (locked := candidates.values_list("pk", flat=True).first()) is not None:
        if not wait:
            return None
        task = candidates.filter(pk=locked).select_for_update(of=("self",), no_key=True).first()
    if task is not None:
        taken = Task.objects.filter(pk=task.pk, state=Task.State.OPEN, slots_free__gt=0)
        if taken.update(slots_free=F("slots_free") - 1) != 1:
            raise RuntimeError(f"task {task.pk} lost its free place while it was locked")
        task.refresh_from_db(fields=["slots_free"])
    cursor.position, cursor.epoch = (END if task is None else task.position), epoch
    cursor.save(update_fields=["position", "epoch"])
    return task


def _end(assignment: Assignment, *, state: str, **values: Any) -> None:
    """End a locked assignment that wasn't judged. A place that it held becomes free, if the task still wants it."""
    held = assignment.state in Assignment.HELD
    assignment.state, assignment.ended_at = state, timezone.now()
    for name, value in values.items():
        setattr(assignment, name, value)
    assignment.save(update_fields=["state", "ended_at", *values])
    if not held:
        return
    task = Task.objects.select_for_update(no_key=True).get(pk=assignment.task_id)
    # Counted and not just raised by one: the overlap may have been lowered while more leases were out.
    leases = task.assignments.filter(state__in=Assignment.HELD).count()
    free = max(0, task.judgments_wanted - task.judgments_given - leases)
    Task.objects.filter(pk=task.pk).filter(~Q(slots_free=free)).update(slots_free=free)
    _raise_epoch(project_id=assignment.project_id)
