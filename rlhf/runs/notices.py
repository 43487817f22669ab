"""Notices for the people who train: runs that ended, and rounds that wait for them, stopped at a gate or failed."""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Max, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.people.notices import Notice, Reader
from annotate.people.permissions import Capability
from rlhf.loop.loop import why_ended
from rlhf.models import Iteration, TrainingRun

NEWS_FOR = timedelta(days=14)
MOST_RUNS = 20
Status = TrainingRun.Status
NEEDS_SOMEBODY = Q(state=Iteration.State.ACTIVE, step=Iteration.Step.PROMOTE) | Q(
    state__in=(Iteration.State.STOPPED, Iteration.State.FAILED)
)


def of_runs(reader: Reader) -> Iterable[Notice]:
    """Runs that succeeded or failed within NEWS_FOR, without replies of chats."""
    projects = reader.projects_with(Capability.TRAIN)
    ended = TrainingRun.objects.filter(
        project__in=projects,
        status__in=(Status.SUCCEEDED, Status.FAILED),
        finished_at__gte=timezone.now() - NEWS_FOR,
    ).exclude(queue=TrainingRun.LIVE_QUEUE)
    for run in ended.only("pk", "project", "stage", "status", "finished_at").order_by("-finished_at")[:MOST_RUNS]:
        assert run.finished_at is not None  # as filtered
        has_failed = run.status == Status.FAILED
        said = _("Run %(number)s failed: %(stage)s") if has_failed else _("Run %(number)s succeeded: %(stage)s")
        yield Notice(
            project=projects[run.project_id],
            text=said % {"number": run.pk, "stage": run.get_stage_display()},
            url=reverse("rlhf:run", args=[projects[run.project_id].slug, run.pk]),
            at=run.finished_at,
            level="error" if has_failed else "ok",
        )


def of_gates(reader: Reader) -> Iterable[Notice]:
    """Rounds that wait for a promotion by hand; those that stopped at a gate or failed and were not followed by another
    one."""
    projects = reader.projects_with(Capability.TRAIN)
    rounds = Iteration.objects.filter(project__in=projects).order_by()
    latest = rounds.values("project").annotate(latest=Max("pk")).values("latest")
    for iteration in Iteration.objects.filter(NEEDS_SOMEBODY, pk__in=latest).order_by("project"):
        project = projects[iteration.project_id]
        if iteration.state == Iteration.State.ACTIVE:
            yield Notice(
                project=project,
                text=_("Round %(number)s waits: promote its policy, or go on without it.")
                % {"number": iteration.number},
                url=reverse("rlhf:loop", args=[project.slug]),
                at=iteration.step_since or iteration.started_at,
                level="warn",
                waits=True,
            )
            continue
        has_failed = iteration.state == Iteration.State.FAILED
        said = (
            _("Round %(number)s failed: %(reason)s")
            if has_failed
            else _("Round %(number)s stopped at a gate: %(reason)s")
        )
        yield Notice(
            project=project,
            text=said % {"number": iteration.number, "reason": why_ended(iteration)},
            url=reverse("rlhf:loop", args=[project.slug]),
            at=iteration.finished_at or iteration.started_at,
            level="error" if has_failed else "warn",
            waits=True,
        )
