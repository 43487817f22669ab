"""What follows when a labeler's latest checks stay below a threshold: a warning, a pause, or the exam once more.

The window is the last n checks of one kind since the last time that something followed; below the least number of
checks nothing does. Each follows once, with its sentence for the labeler and an audit event, and a manager can undo it.
"""

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.labeling import exam, qualification
from annotate.labeling.queue import leases
from annotate.models import ExamAttempt, Membership, Project, QualityAlert, QualityCheck, User
from annotate.people import audit, members
from annotate.people.permissions import Capability, ensure

Action = Project.CheckAction
Kind = QualityCheck.Kind
VERBS = {
    Action.WARN: "quality.warned",
    Action.PAUSE: "quality.paused",
    Action.REQUALIFY: "quality.requalification_asked",
}


def evaluate(*, project: Project, labeler_id: int, kind: str) -> QualityAlert | None:
    """Act on a labeler's latest checks of a kind, if they are below the project's threshold; what was done."""
    threshold, action = limits(project, kind)
    if threshold is None:
        return None
    labeler = User.objects.get(pk=labeler_id)
    with transaction.atomic():
        # Two jobs at once would act twice on the same checks.
        leases.locked_cursor(labeler=labeler, project=project.pk)
        scores = window(project=project, labeler=labeler, kind=kind)
        if len(scores) < project.check_minimum or (rate := fmean(scores)) >= threshold:
            return None
        alert = QualityAlert(
            project=project,
            labeler=labeler,
            kind=kind,
            action=_possible(action, labeler=labeler, project=project),
            rate=rate,
            threshold=threshold,
            checks=len(scores),
        )
        alert.save()
        _carry_out(alert)
        audit.record(
            verb=VERBS[Action(alert.action)],
            actor=None,
            subject=alert,
            project=project,
            person=labeler,
            kind=alert.kind,
            rate=round(rate, 4),
            threshold=threshold,
            checks=alert.checks,
        )
    return alert


def limits(project: Project, kind: str) -> tuple[float | None, str]:
    """The threshold of a kind of check and what happens below it. Calibration has none."""
    if kind == Kind.GOLD:
        return project.gold_threshold, project.gold_action
    if kind == Kind.REPEAT:
        return project.repeat_threshold, project.repeat_action
    return None, Action.WARN


def window(*, project: Project, labeler: User, kind: str) -> Sequence[float]:
    """The scores that the threshold looks at, the latest first."""
    checks = QualityCheck.objects.filter(labeler=labeler, project=project, kind=kind)
    last = QualityAlert.objects.filter(labeler=labeler, project=project, kind=kind).first()
    if last is not None:
        checks = checks.filter(created_at__gt=last.created_at)
    return list(checks.order_by("-created_at").values_list("score", flat=True)[: project.check_window])


def undo(*, alert: QualityAlert, by: User) -> None:
    """Take back what followed; a second time changes nothing, and a pause for another reason stays. Raises NotYours."""
    ensure(by, Capability.MANAGE, alert.project)
    with transaction.atomic():
        open_alerts = QualityAlert.objects.filter(pk=alert.pk, undone_at=None)
        if not open_alerts.update(undone_at=timezone.now(), undone_by=by):
            return
        membership = _membership(alert.labeler, alert.project)
        if alert.action == Action.PAUSE and membership is not None:
            if membership.paused_reason == sentence(alert).as_json():
                members.resume(membership=membership, by=by)
        elif alert.action == Action.REQUALIFY and membership is not None:
            exam.waive(labeler=alert.labeler, project=alert.project, by=by)
        audit.record(verb="quality.undone", actor=by, subject=alert, project=alert.project, person=alert.labeler)
    alert.refresh_from_db()


def warnings_for(*, labeler: User, project: Project) -> QuerySet[QualityAlert]:
    """Warnings that the labeler has not closed and no manager has undone."""
    own = QualityAlert.objects.filter(labeler=labeler, project=project, action=Action.WARN)
    return own.filter(read_at=None, undone_at=None)


def sentences(*, labeler: User, project: Project) -> list[StoredMessage]:
    """What the labeler reads on the work page until they have closed it."""
    if project.gold_threshold is None and project.repeat_threshold is None:
        return []
    return [sentence(alert) for alert in warnings_for(labeler=labeler, project=project)]


def requalification_of(*, labeler: User, project: Project) -> QualityAlert | None:
    """Why the exam is asked for again, while it is."""
    own = QualityAlert.objects.filter(labeler=labeler, project=project, action=Action.REQUALIFY)
    last = own.filter(undone_at=None).first()
    passed = qualification.counting(labeler, project).filter(passed=True)
    return None if last is None or passed.filter(finished_at__gt=last.created_at).exists() else last


def listed(project: Project, *, labeler: User | None = None, most: int) -> list[tuple[QualityAlert, StoredMessage]]:
    """(what followed, what the labeler reads), of one labeler or all, the newest first."""
    found = QualityAlert.objects.filter(project=project).select_related("labeler", "undone_by")
    if labeler is not None:
        found = found.filter(labeler=labeler)
    return [(alert, sentence(alert)) for alert in found[:most]]


def to_look_at(project: Project, *, since: datetime) -> list[QualityAlert]:
    """Warnings since then, and exams that are asked for again and not passed yet, none of them undone: the latest of
    each labeler, the newest first. Pauses are seen at the labelers themselves."""
    passed = ExamAttempt.objects.filter(
        labeler=OuterRef("labeler"),
        project=project,
        annulled=False,
        passed=True,
        finished_at__gt=OuterRef("created_at"),
    )
    looked_at = Q(action=Action.WARN, created_at__gte=since)
    if qualification.is_on(project):
        looked_at |= Q(~Exists(passed), action=Action.REQUALIFY)
    found = QualityAlert.objects.filter(looked_at, project=project, undone_at=None).select_related("labeler")
    latest: dict[int, QualityAlert] = {}
    for alert in found.order_by("-pk"):
        latest.setdefault(alert.labeler_id, alert)
    return list(latest.values())


def close(*, labeler: User, project: Project) -> None:
    """The labeler has read their warnings."""
    warnings_for(labeler=labeler, project=project).update(read_at=timezone.now())


def sentence(alert: QualityAlert) -> StoredMessage:
    """What the labeler reads."""
    values = {"checks": alert.checks, "rate": f"{alert.rate:.0%}", "threshold": f"{alert.threshold:.0%}"}
    return StoredMessage(f"quality_{alert.kind}_{alert.action}", values)


def _possible(action: str, *, labeler: User, project: Project) -> str:
    """A labeler who has seen the known orders of the whole exam can't take it again: they are paused."""
    if action == Action.REQUALIFY and not (
        qualification.is_on(project) and exam.askable(labeler=labeler, project=project).exists()
    ):
        return Action.PAUSE
    return action


def _carry_out(alert: QualityAlert) -> None:
    membership = _membership(alert.labeler, alert.project)
    if membership is None:  # they have left the project
        return
    if alert.action == Action.PAUSE:
        members.pause(membership=membership, by=None, reason=sentence(alert))
    elif alert.action == Action.REQUALIFY:
        exam.annul(labeler=alert.labeler, project=alert.project, by=None)


def _membership(labeler: User, project: Project) -> Membership | None:
    return Membership.objects.filter(user=labeler, project=project).order_by("pk").first()


stored_messages.register(
    {
        "quality_gold_warn": gettext_noop(
            "In %(checks)s of your latest tasks whose best order is known, you ordered %(rate)s of the pairs that way; "
            "at least %(threshold)s are asked for here. Please read the guidelines again before you go on."
        ),
        "quality_gold_pause": gettext_noop(
            "In %(checks)s of your latest tasks whose best order is known, you ordered %(rate)s of the pairs that way; "
            "at least %(threshold)s are asked for here. You get no new tasks until a manager of the project has looked "
            "at it. What you hold can still be submitted."
        ),
        "quality_gold_requalify": gettext_noop(
            "In %(checks)s of your latest tasks whose best order is known, you ordered %(rate)s of the pairs that way; "
            "at least %(threshold)s are asked for here. Please read the guidelines again and take the exam once more: "
            "after it your work goes on."
        ),
        "quality_repeat_warn": gettext_noop(
            "In %(checks)s tasks that you were shown twice, you judged %(rate)s of the pairs the same way both times; "
            "at least %(threshold)s are asked for here. Please read the guidelines again before you go on."
        ),
        "quality_repeat_pause": gettext_noop(
            "In %(checks)s tasks that you were shown twice, you judged %(rate)s of the pairs the same way both times; "
            "at least %(threshold)s are asked for here. You get no new tasks until a manager of the project has looked "
            "at it. What you hold can still be submitted."
        ),
        "quality_repeat_requalify": gettext_noop(
            "In %(checks)s tasks that you were shown twice, you judged %(rate)s of the pairs the same way both times; "
            "at least %(threshold)s are asked for here. Please read the guidelines again and take the exam once more: "
            "after it your work goes on."
        ),
    }
)
