"""A labeler's judgments left out since a date, with a reason, and counted again.

A judgment that is left out stays as it is, with its revisions, under its labeler's My work and under Review, where it
is marked. It counts for nothing: no consensus or reliability, no snapshot, no figure, and not for its task. The
labeler's later judgments count; whoever shall give none is paused or removed. Hidden checks are no data, and are not
left out.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused
from annotate.labeling.queue import recounting
from annotate.models import AggregationEstimate, Assignment, Judgment, JudgmentExclusion, Project, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure
from annotate.quality import measures
from annotate.quality.review.batch_changes import Job

LONGEST_REASON = 4_000


def leave_out(
    *, project: Project, labeler: User, since: datetime, reason: str, by: User, gives_out_again: bool = False
) -> JudgmentExclusion:
    """Leave out what the labeler has judged here since a time; `gives_out_again`: complete tasks that are then short of
    judgments go to others.

    Raises NotYours, and Refused without a reason, for a time in the future, and where there is no such judgment.
    """
    ensure(by, Capability.MANAGE, project)
    reason = text.checked(reason.strip(), name=_("The reason"), longest=LONGEST_REASON)
    if not reason:
        raise Refused(_("Say why: the reason stays with these judgments."), status=400)
    if since > timezone.now():
        raise Refused(_("This time is in the future: nothing was judged since then."), status=400)
    if not judgments_since(project=project, labeler=labeler, since=since).exists():
        sentence = _("%(name)s has given no judgment here since then that counts.")
        raise Refused(sentence % {"name": labeler.display_name}, status=400)
    with transaction.atomic():
        exclusion = _planned(
            project=project, labeler=labeler, since=since, reason=reason, by=by, gives_out_again=gives_out_again
        )
    JOB.begin(exclusion)
    return exclusion


def plan(*, project: Project, labeler: User, since: datetime, reason: str, by: User | None) -> JudgmentExclusion:
    """Inside a transaction, after which a worker carries it out: what the labeler has judged here is left out because
    they are gone."""
    exclusion = _planned(project=project, labeler=labeler, since=since, reason=reason, by=by, gives_out_again=False)
    JOB.hand_over(exclusion)
    return exclusion


def _planned(
    *, project: Project, labeler: User, since: datetime, reason: str, by: User | None, gives_out_again: bool
) -> JudgmentExclusion:
    exclusion = JudgmentExclusion.objects.create(
        project=project, labeler=labeler, since=since, reason=reason, gives_out_again=gives_out_again, created_by=by
    )
    audit.record(
        verb="judgments.left_out",
        actor=by,
        subject=exclusion,
        project=project,
        person=labeler,
        since=since.isoformat(),
        reason=reason,
        gives_out_again=gives_out_again,
    )
    return exclusion


def count_again(*, exclusion: JudgmentExclusion, by: User) -> None:
    """Undo an exclusion: its judgments count as before. A second time changes nothing. Raises NotYours."""
    ensure(by, Capability.MANAGE, exclusion.project)
    with transaction.atomic():
        undone = JudgmentExclusion.objects.filter(pk=exclusion.pk, undone_at=None)
        # A job that is leaving out judgments at this moment finds that it isn't at work any more.
        changed = undone.update(
            undone_at=timezone.now(),
            undone_by=by,
            state=JudgmentExclusion.State.WAITING,
            token=None,
            lease_until=None,
            done=0,
            in_all=None,
            finished_at=None,
        )
        if not changed:
            return
        audit.record(
            verb="judgments.counted_again",
            actor=by,
            subject=exclusion,
            project=exclusion.project,
            person=exclusion.labeler,
        )
    JOB.begin(exclusion)


def judgments_since(*, project: Project, labeler: User, since: datetime) -> QuerySet[Judgment]:
    """What an exclusion would leave out now."""
    return Judgment.objects.filter(Judgment.COUNTED, project=project, labeler=labeler, created_at__gte=since)


def _left(exclusion: JudgmentExclusion) -> QuerySet[Any, int]:
    if exclusion.undone_at is not None:
        chosen = Judgment.objects.filter(left_out=exclusion)
    else:
        # What was taken back is marked too, so that it counts no more when it is given again.
        chosen = Judgment.objects.filter(
            project=exclusion.project_id,
            labeler=exclusion.labeler_id,
            is_adjudication=False,
            is_check=False,
            left_out=None,
            created_at__gte=exclusion.since,
            created_at__lte=exclusion.created_at,
        )
    return chosen.order_by("created_at", "pk").values_list("pk", flat=True)


def _apply(exclusion: JudgmentExclusion, keys: list[int]) -> int:
    """Mark some judgments, or take the mark away, and count their tasks' judgments again."""
    undo = exclusion.undone_at is not None
    assignments = Assignment.objects.filter(judgment__in=keys)
    # Before their judgments and tasks, as a submit and an undo lock them.
    list(assignments.order_by("task_id").select_for_update(of=("self",), no_key=True).values_list("pk"))
    chosen = Judgment.objects.filter(pk__in=keys, left_out=exclusion if undo else None)
    if undo:
        # What another exclusion covers too stays left out, by that one.
        for other in _not_undone(exclusion):
            chosen.filter(created_at__gte=other.since, created_at__lte=other.created_at).update(left_out=other)
    rows = list(chosen.values_list("pk", "task", "latest", "surplus"))
    Judgment.objects.filter(pk__in=[row[0] for row in rows]).update(left_out=None if undo else exclusion)
    # One labeler has one judgment of a task at most.
    counted = [task for _key, task, latest, surplus in rows if latest is not None and not surplus]
    recounting.recount(
        counted,
        project_id=exclusion.project_id,
        by=1 if undo else -1,
        give_out_again=exclusion.gives_out_again and not undo,
    )
    beyond = [task for _key, task, latest, surplus in rows if latest is not None and surplus]
    recounting.recount(beyond, project_id=exclusion.project_id, by=0, give_out_again=False)
    measures.judgments_changed(sorted({*counted, *beyond}))
    # Reliabilities rest on other judgments now: they are due whatever the number of judgments.
    AggregationEstimate.objects.filter(project=exclusion.project_id).update(judgments=0)
    return len(keys)


def _not_undone(undone: JudgmentExclusion) -> QuerySet[JudgmentExclusion]:
    """The other exclusions of its labeler that were not undone."""
    others = JudgmentExclusion.objects.filter(project=undone.project_id, labeler=undone.labeler_id, undone_at=None)
    return others.exclude(pk=undone.pk)


JOB = Job(JudgmentExclusion, left=_left, apply=_apply)
