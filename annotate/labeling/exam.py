"""The qualification exam: comparisons with a known ordering that have to be ranked well before one gets live work.

A manager takes comparisons out of the queue for it (Task.State.EXAM) and says which share of their known pairs has to
come out right. Answers belong to an attempt and are no judgments: no export, agreement or training ever sees them.
"""

from random import SystemRandom
from typing import Any

from django.db import transaction
from django.db.models import F, Max, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import InvalidOrdering, NotYours, Refused
from annotate.labeling.ordering import Ordering
from annotate.labeling.qualification import counting, exam_progress, is_qualified, items
from annotate.labeling.queue import DraftReceipt, leases
from annotate.models import Assignment, ExamAnswer, ExamAttempt, Judgment, Project, Task, User
from annotate.people import audit
from annotate.people.permissions import Capability, can, ensure
from annotate.quality.agreement import against_gold

LONGEST_DRAFT = 200_000
MOST_ITEMS = 50


# ---- a labeler takes it ------------------------------------------------------------------------------------------


def start(*, labeler: User, project: Project) -> ExamAttempt:
    """Begin an attempt, or go on with the one that is open. Raises NotYours, and Refused when there is none to take."""
    ensure(labeler, Capability.LABEL, project)
    with transaction.atomic():
        # One at a time, whichever of their pages asks.
        leases.locked_cursor(labeler=labeler, project=project)
        progress = exam_progress(user=labeler, project=project)
        if progress.open_attempt is not None:
            return progress.open_attempt
        if progress.attempts_left is None or project.exam_threshold is None:
            raise Refused(_("This project has no exam."), status=404)
        if any(attempt.passed for attempt in progress.attempts):
            raise Refused(_("You have passed this exam already."))
        if not progress.attempts_left:
            raise Refused(_("You have used all your attempts. A manager of the project can give you another one."))
        tasks = list(askable(labeler=labeler, project=project)[:MOST_ITEMS])
        if not tasks:
            raise Refused(
                _("You can tell the known order of every task of this exam. A manager of the project can add others.")
            )
        made = ExamAttempt.objects.filter(labeler=labeler, project=project)
        attempt = ExamAttempt.objects.create(
            project=project,
            labeler=labeler,
            number=(made.aggregate(last=Max("number"))["last"] or 0) + 1,
            threshold=project.exam_threshold,
        )
        SystemRandom().shuffle(tasks)
        ExamAnswer.objects.bulk_create(
            ExamAnswer(
                attempt=attempt,
                task=task,
                number=number,
                presentation=_shuffled(task),
                gold_tiers=task.gold_tiers,
            )
            for number, task in enumerate(tasks, start=1)
        )
    return attempt


def askable(*, labeler: User, project: Project) -> QuerySet[Task]:
    """The items whose known order this labeler can't tell.

    It is shown after an attempt that was passed, and such an attempt can be annulled, so that another one is taken.
    An attempt that was failed tells it where the opposite order passes for certain.
    """
    finished = ExamAttempt.objects.filter(labeler=labeler, project=project, finished_at__isnull=False)
    known = [attempt.pk for attempt in finished if attempt.passed or fail_tells_order(attempt.total, attempt.threshold)]
    return items(project).exclude(pk__in=ExamAnswer.objects.filter(attempt__in=known).values("task"))


def fail_tells_order(pairs: int, threshold: float) -> bool:
    """Whether an order that fails an exam of this many known pairs passes it when it is turned round.

    So it is with a single pair, and with any number where about half of the pairs are enough.
    """
    most = max((hits for hits in range(pairs) if hits / pairs < threshold), default=None)
    return most is not None and (pairs - most) / pairs >= threshold


def known_pairs(project: Project) -> int:
    """How many pairs the known orders of the exam's tasks decide."""
    return sum(len(Ordering.stored(task.gold_tiers).pairs()) for task in items(project)[:MOST_ITEMS])


def current(attempt: ExamAttempt) -> ExamAnswer | None:
    """The first item that isn't answered yet."""
    answers = attempt.answers.filter(answered_at=None).select_related("task__prompt", "attempt__project")
    return answers.order_by("number").first()


def save_draft(*, answer_id: int, labeler: User, draft: dict[str, Any], version: int | None = None) -> DraftReceipt:
    """Keep what was entered so far, unless a newer draft is there or the item was answered."""
    text.checked_object(draft, name=_("The draft"), longest=LONGEST_DRAFT)
    given = _own_answer(answer_id, labeler)
    version = given.draft_version + 1 if version is None else version
    older = ExamAnswer.objects.filter(pk=given.pk, answered_at=None, draft_version__lt=version)
    kept = older.update(draft=draft, draft_version=version) == 1
    return DraftReceipt(version=version if kept else given.draft_version, kept=kept, over=given.answered_at is not None)


def answer(*, answer_id: int, labeler: User, tiers: Any, all_unacceptable: bool = False) -> ExamAttempt:
    """Hand in one item; the last one ends the attempt. An item that was handed in before stays as it was.

    Raises Refused (404), NotYours, InvalidOrdering, UnknownResponse.
    """
    with transaction.atomic():
        given = _own_answer(answer_id, labeler)
        # Of the last two handed in at once, each would find the other one open, and nothing would end the attempt.
        attempt = ExamAttempt.objects.select_for_update(of=("self",), no_key=True).get(pk=given.attempt_id)
        ordering = Ordering.validated(tiers, given.presentation)
        if len(ordering) < 2 and not all_unacceptable:
            raise InvalidOrdering(_("Rank at least two responses, or mark all as unacceptable."))
        hits, total = against_gold(ordering, Ordering.stored(given.gold_tiers))
        ExamAnswer.objects.filter(pk=given.pk, answered_at=None).update(
            tiers=[list(tier) for tier in ordering.tiers],
            hits=hits,
            total=total,
            answered_at=timezone.now(),
            draft=None,
        )
        if not attempt.answers.filter(answered_at=None).exists():
            _finish(attempt)
    attempt.refresh_from_db()
    return attempt


def may_see_known(attempt: ExamAttempt) -> bool:
    """Whether the known orderings may be shown beside the labeler's own.

    Only after a pass. A manager can give another attempt to whoever has none left, and it asks the same items.
    """
    return attempt.finished_at is not None and attempt.passed and not attempt.annulled


# ---- a manager sets it -------------------------------------------------------------------------------------------


def add_item(*, task: Task, by: User, judgment: Judgment | None = None) -> Task:
    """Take a comparison out of the queue and into the exam.

    Its known ordering is the gold it has, or that of `judgment`. Raises NotYours, and Refused when there is none that
    prefers anything.
    """
    ensure(by, Capability.MANAGE, task.project)
    if task.kind != Task.Kind.COMPARE or task.state not in (Task.State.OPEN, Task.State.COMPLETE):
        raise Refused(_("Only comparisons that are open or complete can be asked in the exam."))
    if judgment is not None and (judgment.task_id != task.pk or judgment.latest is None):
        raise Refused(_("This judgment isn't one of this task."), status=400)
    tiers = judgment.latest.tiers if judgment is not None and judgment.latest is not None else task.gold_tiers
    if not tiers or not Ordering.stored(tiers).pairs():
        raise Refused(_("The exam asks for a known ordering that prefers at least one response to another."))
    if items(task.project).count() >= MOST_ITEMS:
        raise Refused(_("An exam has at most %(count)d items.") % {"count": MOST_ITEMS})
    with transaction.atomic():
        marked = Task.objects.filter(pk=task.pk, state=task.state)
        if marked.update(state=Task.State.EXAM, gold_tiers=tiers) != 1:
            raise Refused(_("The task changed meanwhile. Try again."))
        for lease in _held(task):
            leases.end(lease, state=Assignment.State.EXPIRED)
        audit.record(verb="exam.item_added", actor=by, subject=task, project=task.project)
    task.refresh_from_db()
    return task


def remove_item(*, task: Task, by: User) -> Task:
    """Put an item back into the queue, if it still wants judgments. Attempts that had it keep it."""
    ensure(by, Capability.MANAGE, task.project)
    with transaction.atomic():
        changed = Task.objects.filter(pk=task.pk, state=Task.State.EXAM)
        wanted, given = F("judgments_wanted"), F("judgments_given")
        complete = changed.filter(judgments_given__gte=wanted).update(state=Task.State.COMPLETE, slots_free=0)
        if not complete and changed.update(state=Task.State.OPEN, slots_free=wanted - given) != 1:
            raise Refused(_("This task isn't part of the exam."))
        audit.record(verb="exam.item_removed", actor=by, subject=task, project=task.project)
        leases.raise_epoch(project_id=task.project_id)
    task.refresh_from_db()
    return task


def waive(*, labeler: User, project: Project, by: User) -> ExamAttempt:
    """Let somebody work without the exam."""
    ensure(by, Capability.MANAGE, project)
    _ensure_labels(labeler, project)
    with transaction.atomic():
        leases.locked_cursor(labeler=labeler, project=project)
        passed = counting(labeler, project).filter(passed=True).first()
        if passed is not None:
            return passed
        now = timezone.now()
        counting(labeler, project).filter(finished_at=None).update(annulled=True, finished_at=now)
        waiver = ExamAttempt.objects.create(
            project=project,
            labeler=labeler,
            number=0,
            waived_by=by,
            threshold=project.exam_threshold or 0.0,
            passed=True,
            finished_at=now,
        )
        audit.record(verb="exam.waived", actor=by, subject=waiver, project=project, person=labeler)
    return waiver


def annul(*, labeler: User, project: Project, by: User | None) -> int:
    """Annul a labeler's attempts, so that they begin the exam anew; returns how many attempts these were.

    `by` None: Hone itself does.
    """
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    with transaction.atomic():
        leases.locked_cursor(labeler=labeler, project=project)
        annulled = counting(labeler, project).update(annulled=True)
        if annulled:
            audit.record(
                verb="exam.annulled",
                actor=by,
                subject=labeler,
                project=project,
                person=labeler,
                attempts=annulled,
            )
            if not is_qualified(user=labeler, project=project):
                leases.release_held(labeler=labeler, project=project)
    return annulled


def _finish(attempt: ExamAttempt) -> None:
    counted = attempt.answers.values_list("hits", "total")
    hits, total = sum(some for some, _of in counted), sum(of for _some, of in counted)
    ExamAttempt.objects.filter(pk=attempt.pk, finished_at=None).update(
        hits=hits, total=total, passed=total > 0 and hits / total >= attempt.threshold, finished_at=timezone.now()
    )


def _own_answer(answer_id: int, labeler: User) -> ExamAnswer:
    given = ExamAnswer.objects.select_related("attempt__project", "attempt__labeler").filter(pk=answer_id).first()
    if given is None or given.attempt.annulled:
        raise Refused(_("There is no such exam item."), status=404)
    if given.attempt.labeler_id != labeler.pk:
        raise NotYours(_("This exam is somebody else's."))
    return given


def _ensure_labels(labeler: User, project: Project) -> None:
    if not can(labeler, Capability.LABEL, project):
        raise Refused(_("%(name)s doesn't label in this project.") % {"name": labeler.display_name})


def _held(task: Task) -> QuerySet[Assignment]:
    held = task.assignments.filter(state__in=Assignment.HELD).select_related("project")
    return held.select_for_update(of=("self",), no_key=True)


def _shuffled(task: Task) -> list[int]:
    ids = list(task.task_responses.values_list("response_id", flat=True))
    SystemRandom().shuffle(ids)
    return ids
