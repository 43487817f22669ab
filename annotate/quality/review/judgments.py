"""Judgments accepted or returned by reviewers, tasks reported by labelers, reports resolved."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import NotYours, Refused
from annotate.models import (
    Assignment,
    Judgment,
    JudgmentAcceptance,
    JudgmentReturn,
    JudgmentRevision,
    Project,
    Report,
    TaskConsensus,
    User,
)
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

LONGEST_COMMENT = 4_000


def send_back(*, judgment: Judgment, by: User, comment: str) -> JudgmentReturn:
    """Return a judgment to its labeler, who finds it under My work. It counts as it is until they revise it.

    Raises NotYours, and Refused without a comment, for a withdrawn judgment, or for one that was returned already.
    """
    ensure(by, Capability.REVIEW, judgment.project)
    comment = text.checked(comment.strip(), name=_("The comment"), longest=LONGEST_COMMENT)
    if not comment:
        raise Refused(_("Say what should be different: the labeler sees nothing but your comment."), status=400)
    with transaction.atomic():
        now = Judgment.objects.select_for_update(of=("self",), no_key=True).select_related("latest").get(pk=judgment.pk)
        revision = _reviewable(now)
        if now.returns.filter(revision=revision).exists():
            raise Refused(_("This judgment was returned already and waits for its labeler."))
        returned = JudgmentReturn.objects.create(judgment=now, revision=revision, reviewer=by, comment=comment)
        # Nobody decides the task while one of its judgments is being revised.
        waiting = TaskConsensus.objects.filter(task=now.task_id)
        waiting.update(for_review=False, reviewer=None, review_until=None)
        audit.record(verb="judgment.returned", actor=by, subject=now, project=now.project, comment=comment)
    return returned


def _reviewable(judgment: Judgment) -> JudgmentRevision:
    """What is accepted or returned of it. Raises Refused where there is nothing."""
    if judgment.is_adjudication:
        raise Refused(_("A reviewer decided here: there is no labeler's judgment to accept or to return."), status=400)
    if judgment.latest is None:
        raise Refused(_("The labeler has taken this judgment back."))
    return judgment.latest


def accept(*, judgment: Judgment, by: User) -> JudgmentAcceptance:
    """Accept a judgment as it stands; a second time changes nothing.

    Raises NotYours, and Refused for a withdrawn judgment or one that was returned.
    """
    ensure(by, Capability.REVIEW, judgment.project)
    with transaction.atomic():
        now = Judgment.objects.select_for_update(of=("self",), no_key=True).select_related("latest").get(pk=judgment.pk)
        revision = _reviewable(now)
        if now.returns.filter(revision=revision).exists():
            raise Refused(_("This judgment was returned already and waits for its labeler."))
        found = JudgmentAcceptance.objects.filter(revision=revision).first()
        if found is None:
            found = JudgmentAcceptance.objects.create(judgment=now, revision=revision, reviewer=by)
            audit.record(verb="judgment.accepted", actor=by, subject=now, project=now.project)
    return found


def unreviewed(project: Project) -> QuerySet[Judgment]:
    """Judgments that count and that no reviewer has accepted or returned as they stand, the latest first."""
    counted = Judgment.objects.filter(Judgment.COUNTED, project=project, chat_turn=None)
    return counted.filter(latest__acceptance=None, latest__returns=None).order_by("-pk")


def open_returns(*, labeler: User, project: Project) -> QuerySet[JudgmentReturn]:
    """What was returned to a labeler and not revised since, newest first."""
    return JudgmentReturn.objects.filter(
        JudgmentReturn.OPEN, judgment__labeler=labeler, judgment__project=project
    ).select_related("reviewer", "judgment")


def report(*, assignment: Assignment, by: User, reason: str, note: str = "") -> Report:
    """A labeler says that something is wrong with a task. Raises NotYours, and Refused without a reason."""
    if assignment.labeler_id != by.pk:
        raise NotYours(_("This task was given to somebody else."))
    if reason not in Report.Reason.values:
        raise Refused(_("Choose what is wrong first."), status=400)
    note = text.checked(note.strip(), name=_("The report"), longest=LONGEST_COMMENT)
    same = Report.objects.filter(assignment=assignment, reason=reason, note=note, resolved_at=None).first()
    return same or Report.objects.create(
        assignment=assignment, project_id=assignment.project_id, reason=reason, note=note
    )


def resolve(*, report: Report, by: User) -> None:
    """Close a report that was looked into; a second time changes nothing."""
    ensure(by, Capability.REVIEW, report.project)
    with transaction.atomic():
        closed = Report.objects.filter(pk=report.pk, resolved_at=None)
        if closed.update(resolved_at=timezone.now(), resolved_by=by):
            audit.record(verb="report.resolved", actor=by, subject=report, project=report.project)
