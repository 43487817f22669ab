"""Actions on a leased task: keep a draft, submit, withdraw a judgment, skip."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data import text
from annotate.errors import Refused
from annotate.labeling import task_kinds
from annotate.labeling.checks import lane
from annotate.labeling.queue.leases import (
    State,
    claim_next,
    end,
    is_given_work,
    lease_end,
    lease_next,
    locked_assignment,
    locked_cursor,
    locked_leases,
    locked_work,
    renew,
    reopen,
)
from annotate.labeling.submissions import Receipt, Submission
from annotate.models import Assignment, Judgment, JudgmentRevision, Project, Task, User
from annotate.models.prepared_queries import Update, insert, prepared_update
from annotate.people import event_outbox

LONGEST_DRAFT = 400_000
LONGEST_REASON = 500
# The page offers to undo for five seconds; the rest is for the way to the server and back.
UNDO_FOR = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class DraftReceipt:
    """What became of a draft.

    kept:      it is stored now.
    conflict:  it isn't, because another page stored one meanwhile that this one has not seen: `draft` is that one.
    over:      the task was skipped, so a draft is of no use.
    expired:   the lease ran out; the draft is kept all the same.
    version:   of the draft that is stored now. None of kept, conflict, over: an older write that came late.
    """

    version: int
    kept: bool = False
    conflict: bool = False
    over: bool = False
    expired: bool = False
    draft: dict[str, Any] | None = None


def save_draft(
    *,
    assignment_id: int,
    labeler: User,
    draft: dict[str, Any],
    page: str = "",
    version: int | None = None,
    base: int | None = None,
) -> DraftReceipt:
    """Keep what was entered so far and renew the lease.

    An open page numbers its drafts upwards from `base`, the version it was shown or last agreed to; `page` is its own
    random name. Without a version the draft is stored whatever was there. A task that was submitted keeps a draft too:
    it is the beginning of a revision.
    """
    text.checked_object(draft, name=_("The draft"), longest=LONGEST_DRAFT)
    text.checked(page, name=_("The page's name"), longest=36)
    with transaction.atomic():
        assignment = locked_assignment(assignment_id=assignment_id, labeler=labeler)
        stored, expired = assignment.draft_version, assignment.state == State.EXPIRED
        if assignment.state == State.SKIPPED:
            return DraftReceipt(version=stored, over=True)
        version = stored + 1 if version is None else version
        own = page == assignment.draft_page
        if own and version <= stored:
            return DraftReceipt(version=stored, expired=expired)
        if not own and base is not None and base != stored:
            return DraftReceipt(version=stored, conflict=True, expired=expired, draft=assignment.draft)
        assignment.draft, assignment.draft_version, assignment.draft_page = draft, max(version, stored + 1), page
        if assignment.state in Assignment.HELD:
            assignment.lease_until = lease_end(assignment.project)
        assignment.save(update_fields=["draft", "draft_version", "draft_page", "lease_until"])
        return DraftReceipt(version=assignment.draft_version, kept=True, expired=expired)


def submit(*, assignment_id: int, labeler: User, submission: Submission) -> Receipt:
    """Store a judgment, or a revision of one that was given before.

    A repeated `client_id` gives the first receipt again, or is refused where the judgment was taken back. After the
    lease ran out the judgment takes a free place of the task again, or is kept beyond the overlap (`surplus`) when
    others have taken them all.
    Raises Refused (404), NotYours, UnknownResponse, InvalidOrdering; the draft stays as it was.
    """
    with transaction.atomic():
        return store_submission(locked_assignment(assignment_id=assignment_id, labeler=labeler), submission)


def submit_and_claim(*, assignment: Assignment, submission: Submission) -> tuple[Receipt, Assignment | None]:
    """`submit`, and what `claim_next` gives then without one more ahead: in one transaction, since all that it locks is
    locked already. `assignment` is the labeler's own, just read with its task and project."""
    labeler, project = assignment.labeler, assignment.project
    following = None
    with transaction.atomic():
        cursor = locked_cursor(labeler=labeler, project=project)
        submitted, following = locked_work(assignment)
        receipt = store_submission(submitted, submission)
        if not is_given_work(labeler=labeler, project=project):
            return receipt, None
        if following is not None:
            renew(following, state=State.CURRENT)
        else:
            # Without waiting for tasks that others have locked: the one that was judged is locked here.
            found = lease_next(
                labeler=labeler,
                project=project,
                cursor=cursor,
                state=State.CURRENT,
                wait=False,
                after=assignment.task,
            )
            following = found if isinstance(found, Assignment) else None
    if following is None:
        following = claim_next(labeler=labeler, project=project, ahead=False)
    return receipt, following


def store_submission(assignment: Assignment, submission: Submission) -> Receipt:
    """Store what was submitted of a locked assignment. Of an adjudication its task is locked too: the first one of a
    task counts, and one that another reviewer gives after it is kept beside it (`surplus`)."""
    judgment: Judgment | None = getattr(assignment, "judgment", None)
    number = 1
    if judgment is not None:
        revisions = judgment.revisions.order_by("-number")
        earlier = revisions.filter(client_id=submission.client_id).first()
        if earlier is not None and judgment.latest_id is None:
            raise Refused(_("You took back what you send here again. Reload the task and submit it anew."))
        if earlier is not None:
            return Receipt(judgment=judgment, revision=earlier, repeated=True, surplus=judgment.surplus)
        number = revisions[0].number + 1
    revision = task_kinds.checked(submission, assignment=assignment)
    by_ai = submission.ai_labeler is not None
    if by_ai:
        revision.content = {**revision.content, **submission.ai_details}
    revised = judgment is not None and judgment.latest_id is not None
    if judgment is not None:
        judgment.assignment = assignment
    else:
        judgment = Judgment(
            assignment=assignment,
            task_id=assignment.task_id,
            labeler=assignment.labeler,
            project_id=assignment.project_id,
            is_adjudication=assignment.is_adjudication,
        )
    if judgment.is_adjudication:
        others = Judgment.objects.filter(Judgment.ADJUDICATED, task=assignment.task_id)
        judgment.surplus = others.exclude(assignment=assignment).exists()
    elif by_ai:
        # It takes no place: the task wants as many judgments of people as before.
        judgment.ai_labeler, judgment.surplus = submission.ai_labeler, True
    elif not revised and judgment.left_out_id is None:
        judgment.is_check = assignment.is_check
        # What was left out counts no more when it is given again.
        judgment.surplus = not _count_judgment(assignment)
    if judgment._state.adding:
        insert(judgment)
    elif judgment.is_adjudication or not revised:
        judgment.save()
    revision.judgment, revision.number = judgment, number
    insert(revision)
    _set_latest(judgment=judgment.pk, revision=revision.pk)
    judgment.latest = revision
    # A counted one has marked its task already, and nothing of people's is computed from an AI's.
    if not by_ai and (revised or judgment.surplus or judgment.is_adjudication):
        Task.objects.filter(pk=assignment.task_id).update(**_stale(judgment.is_check, assignment.project))
    task_kinds.kind_of(assignment.task).store(judgment=judgment, revision=revision)
    # What comes in late of this page's drafts is older than this, so it is not taken for a new one.
    _end_submitted(assignment=assignment.pk, now=timezone.now())
    if assignment.is_check and assignment.state == State.EXPIRED:
        lane.count_places(assignment.task)
    if assignment.task.reserved_for_id == assignment.labeler.pk and not revised:
        reopen(assignment.task)  # it is everybody's now, if it wants more
    if not by_ai:
        _tell(judgment, assignment, revision=number)
        transaction.on_commit(_report_submit)
    return Receipt(judgment=judgment, revision=revision, repeated=False, surplus=judgment.surplus, revised=revised)


def _tell(judgment: Judgment, assignment: Assignment, *, revision: int, withdrawn: bool = False) -> None:
    """Exports have no hidden checks, and nobody outside hears of them."""
    if not judgment.is_check:
        event_outbox.record(
            event_outbox.JUDGMENTS_SUBMITTED,
            project=assignment.project_id,
            chosen=assignment.project.outbox_events,
            judgment=judgment.pk,
            task=assignment.task_id,
            kind=assignment.task.kind,
            revision=revision,
            adjudication=judgment.is_adjudication,
            withdrawn=withdrawn,
        )


def _report_submit() -> None:
    signals.judgments_submitted.send(Judgment, number=1)


@prepared_update
def _set_latest(judgment: int, revision: int) -> Update:
    return Judgment.with_unfinished.filter(pk=judgment), {"latest": revision}


@prepared_update
def _end_submitted(assignment: int, now: datetime) -> Update:
    later = F("draft_version") + 1_000
    changes = {"state": State.SUBMITTED, "ended_at": now, "draft": None, "draft_version": later}
    return Assignment.objects.filter(pk=assignment), changes


def undo(assignment: Assignment, *, labeler: User) -> Assignment:
    """Take back the judgment or the skip of a moment ago, whichever it was: the task is on the board again as it was.

    Raises what `withdraw` and `unskip` do.
    """
    if assignment.state == State.SKIPPED:
        return unskip(assignment_id=assignment.pk, labeler=labeler)
    fields = task_kinds.fields_taken_back(assignment)
    return withdraw(assignment_id=assignment.pk, labeler=labeler, draft=fields)


def withdraw(*, assignment_id: int, labeler: User, draft: dict[str, Any]) -> Assignment:
    """Take back a judgment that was given a moment ago: a revision says so, and the task is on the board again.

    `draft` is what the form shall show. The task that had become current comes after it, and the one leased ahead goes
    back into the queue. A judgment beyond the overlap is taken back without a lease, and can be given again all the
    same.
    Repeated, it changes nothing, nor of a task that is at hand without a judgment. Raises Refused when it is too late,
    or when there was an earlier revision.
    """
    text.checked_object(draft, name=_("The draft"), longest=LONGEST_DRAFT)
    with transaction.atomic():
        assignment = locked_assignment(assignment_id=assignment_id, labeler=labeler)
        judgment = Judgment.objects.filter(assignment=assignment).select_related("latest").first()
        if judgment is None and assignment.state in (*Assignment.HELD, State.REVIEWING):
            return assignment  # so it is after the undo of a skip
        if judgment is None:
            raise Refused(_("This task wasn't submitted, so there is nothing to undo."))
        if judgment.latest is None:
            return assignment
        revisions = judgment.revisions.order_by("-number")
        if judgment.latest.created_at < timezone.now() - UNDO_FOR:
            raise Refused(
                _("It is too late to undo this. It can still be changed under Review.")
                if assignment.is_adjudication
                else _("It is too late to undo this. It can still be changed under My work.")
            )
        if len(revisions) > 1 and not revisions[1].withdrawn:
            raise Refused(
                _("A revision isn't undone: change it again under Review.")
                if assignment.is_adjudication
                else _("A revision isn't undone: change it again under My work.")
            )
        JudgmentRevision.objects.create(
            judgment=judgment,
            number=judgment.latest.number + 1,
            client_id=uuid.uuid4(),
            withdrawn=True,
            rubric=judgment.latest.rubric,
        )
        Judgment.objects.filter(pk=judgment.pk).update(latest=None)
        _tell(judgment, assignment, revision=judgment.latest.number + 1, withdrawn=True)
        Task.objects.filter(pk=assignment.task_id).update(**_stale(judgment.is_check, assignment.project))
        task_kinds.kind_of(assignment.task).withdraw(judgment=judgment)
        if assignment.is_adjudication:
            assignment.state, assignment.ended_at = State.REVIEWING, None
        elif judgment.surplus or judgment.left_out_id is not None:
            assignment.state = State.EXPIRED
        else:
            _make_room(assignment)
            uncounted = Task.objects.filter(pk=assignment.task_id)
            # As many statements for a hidden check, which was not counted.
            uncounted.update(judgments_given=F("judgments_given") - (0 if judgment.is_check else 1))
            uncounted.filter(state=Task.State.COMPLETE, judgments_given__lt=F("judgments_wanted")).update(
                state=Task.State.OPEN
            )
            assignment.state, assignment.ended_at = State.CURRENT, None
        assignment.lease_until = lease_end(assignment.project)
        assignment.draft, assignment.draft_page = draft, ""
        assignment.draft_version += 1
        assignment.save(update_fields=["state", "ended_at", "lease_until", "draft", "draft_version", "draft_page"])
        return assignment


def skip(*, assignment_id: int, labeler: User, reason: str = "") -> Assignment:
    """Give a task back unjudged; the labeler doesn't get it again, others do. A repeated skip changes nothing."""
    reason = text.checked(reason.strip(), name=_("The reason"), longest=LONGEST_REASON)
    with transaction.atomic():
        assignment = locked_assignment(assignment_id=assignment_id, labeler=labeler)
        if assignment.state == State.SUBMITTED:
            raise Refused(_("You have submitted this task already, so it can't be skipped. Your judgment is kept."))
        if assignment.state != State.SKIPPED:
            end(assignment, state=State.SKIPPED, skip_reason=reason)
        return assignment


def unskip(*, assignment_id: int, labeler: User) -> Assignment:
    """Take back a skip of a moment ago: the task is the labeler's current one again, as it was when they skipped it.

    Where others have taken its places meanwhile it can be judged all the same, as after a lease that ran out. Repeated,
    it changes nothing. Raises Refused when it is too late, or when there is nothing to take back.
    """
    with transaction.atomic():
        assignment = locked_assignment(assignment_id=assignment_id, labeler=labeler)
        if assignment.state in Assignment.HELD:
            return assignment
        if assignment.state != State.SKIPPED:
            raise Refused(_("This task wasn't skipped, so there is nothing to undo."))
        if assignment.ended_at is None or assignment.ended_at < timezone.now() - UNDO_FOR:
            raise Refused(_("It is too late to undo this. You can still judge the task under My work."))
        taken = 0 if assignment.is_check else 1
        free = Task.objects.filter(pk=assignment.task_id)
        if not assignment.is_check:
            free = free.filter(state=Task.State.OPEN, slots_free__gt=0)
        if free.exists():
            _make_room(assignment)
        if free.update(slots_free=F("slots_free") - taken) == 1:
            assignment.state, assignment.ended_at = State.CURRENT, None
        else:
            assignment.state = State.EXPIRED
        assignment.skip_reason, assignment.lease_until = "", lease_end(assignment.project)
        assignment.save(update_fields=["state", "ended_at", "skip_reason", "lease_until"])
        lane.count_places(assignment.task)
        return assignment


def _stale(is_check: bool, project: Project) -> dict[str, datetime]:
    """Marks of a task whose judgments changed: what jobs compute of them is of before (quality.consensus, checks)."""
    now = timezone.now()
    if is_check:
        return {"checks_stale_at": now}
    return {"consensus_stale_at": now, **({"checks_stale_at": now} if project.adaptive_overlap else {})}


def _count_judgment(assignment: Assignment) -> bool:
    """Count a first judgment towards its task. False if it came late and no place is left.

    That of a hidden check counts towards nothing and is never late; its task is marked by as many statements.
    """
    now, adaptive = timezone.now(), assignment.project.adaptive_overlap
    if assignment.is_check:
        return _mark_check(task=assignment.task_id, now=now) == 1
    count = _count_held if assignment.state in Assignment.HELD else _count_late
    return count(task=assignment.task_id, now=now, adaptive=adaptive) == 1


@prepared_update
def _mark_check(task: int, now: datetime) -> Update:
    return Task.with_unfinished.filter(pk=task), {"checks_stale_at": now}


@prepared_update
def _count_held(task: int, now: datetime, adaptive: bool) -> Update:
    return Task.with_unfinished.filter(pk=task), _counted(now, adaptive)


@prepared_update
def _count_late(task: int, now: datetime, adaptive: bool) -> Update:
    free = Task.with_unfinished.filter(pk=task, state=Task.State.OPEN, slots_free__gt=0)
    return free, {"slots_free": F("slots_free") - 1, **_counted(now, adaptive)}


def _counted(now: datetime, adaptive: bool) -> dict[str, Any]:
    enough = Q(state=Task.State.OPEN, judgments_given__gte=F("judgments_wanted") - 1)
    return {
        "judgments_given": F("judgments_given") + 1,
        "consensus_stale_at": now,
        **({"checks_stale_at": now} if adaptive else {}),
        "state": Case(When(enough, then=Value(Task.State.COMPLETE)), default=F("state")),
    }


def _make_room(assignment: Assignment) -> None:
    """The labeler's current task becomes the one ahead, and the one ahead goes back: `assignment` will be current."""
    current, ahead = locked_leases(labeler=assignment.labeler, project=assignment.project)
    # Both tasks are locked in the order of their numbers, as everywhere.
    tasks = [assignment.task_id, *([ahead.task_id] if ahead and current else [])]
    list(Task.objects.filter(pk__in=tasks).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    if current is None:
        return
    if ahead is not None:
        end(ahead, state=State.EXPIRED)
    current.state = State.AHEAD
    current.save(update_fields=["state"])
