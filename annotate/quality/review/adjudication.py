"""Adjudication: a reviewer decides between the orders of a task's labelers, on the board that labelers have.

The queue is the complete tasks whose agreement or confidence is below the project's `review_below`, the lowest first,
as they are stored (TaskConsensus.certainty). An adjudication is an assignment of its own kind with drafts, submit, undo
and revisions as in labeling, which takes no place of its task. A reviewer has one at hand, by a lease that their drafts
renew; another reviewer gets the next one. Nobody adjudicates a task that they judged, or hold as a labeler.

Locks are taken in the order cursor, assignment, task, consensus.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling import queue, task_kinds
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue import assignments, leases
from annotate.labeling.queue.assignments import UNDO_FOR
from annotate.labeling.sensitive_content import visibility
from annotate.labeling.submissions import Receipt, Submission
from annotate.models import Assignment, Judgment, JudgmentReturn, Project, Task, TaskConsensus, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

State = Assignment.State
View = Project.AdjudicationView
DECIDABLE = (Task.State.OPEN, Task.State.COMPLETE)


def waiting(project: Project) -> QuerySet[TaskConsensus]:
    """What waits for review, the least certain first."""
    found = TaskConsensus.objects.filter(project=project, for_review=True, certainty__lt=project.review_below)
    return found.order_by("certainty", "pk")


def adjudicated(project: Project) -> QuerySet[Judgment]:
    """Adjudications, the latest first; those beyond the first of a task too."""
    return Judgment.objects.filter(project=project, is_adjudication=True, latest__isnull=False).order_by("-pk")


def claim_next(*, reviewer: User, project: Project) -> Assignment | None:
    """What the reviewer has at hand, else the next of the queue; None when nothing is left for them."""
    ensure(reviewer, Capability.REVIEW, project)
    with transaction.atomic():
        leases.locked_cursor(labeler=reviewer, project=project)
        held = TaskConsensus.objects.filter(reviewer=reviewer, project=project)
        for row in held.select_for_update(of=("self",)).select_related("task", "project"):
            if not _is_decided(row.task_id) and row.task.state in DECIDABLE:
                return _take(row, reviewer)
            _release(row)
        # The rows that others take at this moment are passed by.
        free = _candidates(reviewer, project).select_for_update(skip_locked=True, of=("self",))
        found = free.select_related("task", "project").first()
        return None if found is None else _take(found, reviewer)


def claim(*, task: Task, reviewer: User) -> Assignment:
    """Take a certain task, whatever its place in the queue; what the reviewer has at hand goes back to it.

    Raises NotYours, and Refused with a sentence where the reviewer may not have it.
    """
    ensure(reviewer, Capability.REVIEW, task.project)
    with transaction.atomic():
        leases.locked_cursor(labeler=reviewer, project=task.project)
        row = _row(task).select_for_update(of=("self",)).first()
        if row is None or not task_kinds.kind_of(task).has_order:
            raise Refused(_("There is nothing to decide between in this task yet."))
        _ensure_may_decide(row, reviewer)
        for other in TaskConsensus.objects.filter(reviewer=reviewer, project=task.project).exclude(pk=row.pk):
            _release(other)
        return _take(row, reviewer)


def keep_draft(*, assignment: Assignment, **values: Any) -> queue.DraftReceipt:
    """`queue.save_draft`, which renews the reviewer's lease as well."""
    receipt = queue.save_draft(assignment_id=assignment.pk, labeler=assignment.labeler, **values)
    own = TaskConsensus.objects.filter(task=assignment.task_id, reviewer=assignment.labeler_id)
    own.update(review_until=leases.lease_end(assignment.project))
    return receipt


def submit(*, assignment_id: int, reviewer: User, submission: Submission) -> Receipt:
    """Store an adjudicated order, or a revision of it. Raises what `queue.submit` does, and Refused for a task that was
    withdrawn meanwhile; the draft stays as it was."""
    with transaction.atomic():
        assignment = leases.locked_assignment(assignment_id=assignment_id, labeler=reviewer)
        _ensure_adjudicates(assignment)
        task = Task.objects.select_for_update(of=("self",), no_key=True).get(pk=assignment.task_id)
        if task.state not in DECIDABLE:
            raise Refused(
                _("This task was taken out of the queue meanwhile, so there is nothing to decide. Your draft is kept.")
            )
        receipt = assignments.store_submission(assignment, submission)
        if receipt.repeated:
            return receipt
        rows = TaskConsensus.objects.filter(task=task)
        rows.filter(reviewer=reviewer).update(reviewer=None, review_until=None)
        if not receipt.surplus:
            rows.update(for_review=False)
        audit.record(
            verb="task.adjudicated",
            actor=reviewer,
            subject=task,
            project=assignment.project,
            judgment=receipt.judgment.pk,
            revision=receipt.revision.number,
        )
        return receipt


def undo(assignment: Assignment, *, reviewer: User) -> Assignment:
    """Take back what was decided or skipped a moment ago, as `queue.undo`."""
    if assignment.state == State.SKIPPED:
        return unskip(assignment_id=assignment.pk, reviewer=reviewer)
    fields = task_kinds.fields_taken_back(assignment)
    return withdraw(assignment_id=assignment.pk, reviewer=reviewer, draft=fields)


def withdraw(*, assignment_id: int, reviewer: User, draft: dict[str, Any]) -> Assignment:
    """Take back an adjudication of a moment ago: the task waits for review again, in the same hands. Repeated, it
    changes nothing: another reviewer may have decided by then."""
    with transaction.atomic():
        known = leases.locked_assignment(assignment_id=assignment_id, labeler=reviewer)
        _ensure_adjudicates(known)
        is_given = Judgment.objects.filter(assignment=known, latest__isnull=False).exists()
        assignment = queue.withdraw(assignment_id=assignment_id, labeler=reviewer, draft=draft)
        if is_given:
            _at_hand_again(assignment)
        return assignment


def skip(*, assignment_id: int, reviewer: User, reason: str = "") -> Assignment:
    """Leave a task to another reviewer: it isn't offered to this one again."""
    with transaction.atomic():
        known = leases.locked_assignment(assignment_id=assignment_id, labeler=reviewer)
        _ensure_adjudicates(known)
        assignment = queue.skip(assignment_id=assignment_id, labeler=reviewer, reason=reason)
        for row in TaskConsensus.objects.filter(task=assignment.task_id, reviewer=reviewer):
            _release(row)
        return assignment


def unskip(*, assignment_id: int, reviewer: User) -> Assignment:
    """Take back a skip of a moment ago. Raises Refused when it is too late."""
    with transaction.atomic():
        assignment = leases.locked_assignment(assignment_id=assignment_id, labeler=reviewer)
        _ensure_adjudicates(assignment)
        if assignment.state != State.SKIPPED:
            return assignment
        if assignment.ended_at is None or assignment.ended_at < timezone.now() - UNDO_FOR:
            raise Refused(_("It is too late to undo this. The task waits for another reviewer."))
        assignment.state, assignment.ended_at, assignment.skip_reason = State.REVIEWING, None, ""
        assignment.save(update_fields=["state", "ended_at", "skip_reason"])
        _at_hand_again(assignment)
        return assignment


def set_aside(*, judgment: Judgment, by: User) -> None:
    """Have an adjudication count no more: it is kept, and its task waits for review again."""
    ensure(by, Capability.REVIEW, judgment.project)
    if not judgment.is_adjudication:
        raise Refused(_("This is no adjudication."), status=400)
    with transaction.atomic():
        task = Task.objects.select_for_update(of=("self",), no_key=True).get(pk=judgment.task_id)
        if Judgment.objects.filter(Judgment.ADJUDICATED, pk=judgment.pk).update(surplus=True):
            Task.objects.filter(pk=task.pk).update(consensus_stale_at=timezone.now())
            audit.record(verb="adjudication.set_aside", actor=by, subject=judgment, project=judgment.project)


# ---- what the board shows beside the responses -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LabelerOrder:
    """A labeler's order in the letters of the reviewer's board."""

    judgment: Judgment
    line: str
    is_returned: bool


def orders(assignment: Assignment) -> list[LabelerOrder]:
    """What the labelers say, in the reviewer's letters."""
    returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
    judgments = Judgment.objects.filter(Judgment.COUNTED, task=assignment.task_id).annotate(returned=Exists(returned))
    return [
        LabelerOrder(
            judgment=judgment,
            line=Ordering.stored(judgment.latest.tiers).in_letters(assignment.presentation) if judgment.latest else "",
            is_returned=judgment.returned,
        )
        for judgment in judgments.select_related("labeler", "latest").order_by("pk")
    ]


# ---- all inside their transaction --------------------------------------------------------------------------------


def _candidates(reviewer: User, project: Project) -> QuerySet[TaskConsensus]:
    """What waits and the reviewer may be given."""
    seen = Assignment.objects.filter(task=OuterRef("task"), labeler=reviewer).exclude(
        state__in=[State.EXPIRED, State.REVIEWING]
    )
    judged = Judgment.objects.filter(task=OuterRef("task"), labeler=reviewer, is_adjudication=False)
    decided = Judgment.objects.filter(Judgment.ADJUDICATED, task=OuterRef("task"))
    free = waiting(project).filter(
        Q(reviewer=None) | Q(review_until__lt=timezone.now()),
        ~Exists(decided),
        ~Exists(seen),
        ~Exists(judged),
        task__state=Task.State.COMPLETE,
    )
    if visibility.is_spared(reviewer, project):
        free = free.filter(task__prompt__sensitive=False)
    return free


def _row(task: Task) -> QuerySet[TaskConsensus]:
    return TaskConsensus.objects.filter(task=task).select_related("task", "project", "reviewer")


def _ensure_may_decide(row: TaskConsensus, reviewer: User) -> None:
    """Raises Refused with the reason, which the page follows by the next task."""
    judged = Judgment.objects.filter(task=row.task_id, labeler=reviewer, is_adjudication=False)
    held = Assignment.objects.filter(task=row.task_id, labeler=reviewer, state__in=Assignment.HELD)
    if judged.exists() or held.exists():
        raise Refused(_("You judged this task yourself, so another reviewer decides it. Take the next one."))
    if (by := _is_decided(row.task_id)) is not None:
        raise Refused(_("%(name)s has decided this task. Take the next one.") % {"name": by.labeler.display_name})
    if row.task.state not in DECIDABLE:
        raise Refused(_("This task was taken out of the queue, so there is nothing to decide. Take the next one."))
    other = row.reviewer
    if other is not None and other != reviewer and row.review_until and row.review_until >= timezone.now():
        raise Refused(_("%(name)s is at this task now. Take the next one.") % {"name": other.display_name})


def _is_decided(task_id: int) -> Judgment | None:
    """The adjudication that counts."""
    return Judgment.objects.filter(Judgment.ADJUDICATED, task=task_id).select_related("labeler").first()


def _take(row: TaskConsensus, reviewer: User) -> Assignment:
    """Put the task in the reviewer's hands: as they left it, if they had it before."""
    until = leases.lease_end(row.project)
    TaskConsensus.objects.filter(pk=row.pk).update(reviewer=reviewer, review_until=until)
    values = {"state": State.REVIEWING, "is_adjudication": True, "lease_until": until, "ended_at": None}
    own = Assignment.objects.filter(task=row.task_id, labeler=reviewer)
    if own.update(**values):
        own.filter(opened_at=None).update(opened_at=timezone.now())
    else:
        Assignment.objects.create(
            task=row.task,
            labeler=reviewer,
            project=row.project,
            opened_at=timezone.now(),
            **leases.shuffled(row.task),
            **values,
        )
    return own.select_related("task__prompt", "project", "labeler").get()


def _at_hand_again(assignment: Assignment) -> None:
    """The task is what its reviewer has at hand, unless another one has it by now or has decided it."""
    Task.objects.select_for_update(of=("self",), no_key=True).get(pk=assignment.task_id)
    if _is_decided(assignment.task_id) is not None:
        return
    mine = Q(reviewer=None) | Q(reviewer=assignment.labeler_id) | Q(review_until__lt=timezone.now())
    others = TaskConsensus.objects.filter(reviewer=assignment.labeler_id, project=assignment.project_id)
    others.exclude(task=assignment.task_id).update(reviewer=None, review_until=None)
    TaskConsensus.objects.filter(mine, task=assignment.task_id).update(
        reviewer=assignment.labeler_id, review_until=leases.lease_end(assignment.project), for_review=True
    )


def _release(row: TaskConsensus) -> None:
    TaskConsensus.objects.filter(pk=row.pk).update(reviewer=None, review_until=None)


def _ensure_adjudicates(assignment: Assignment) -> None:
    ensure(assignment.labeler, Capability.REVIEW, assignment.project)
    if not assignment.is_adjudication:
        raise Refused(_("This task is none that you adjudicate."), status=400)
