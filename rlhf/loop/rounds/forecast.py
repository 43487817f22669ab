"""When a round goes on: from the pace of judgments, and from how long runs of a stage took. Estimates, rounded."""

from datetime import datetime, timedelta
from statistics import median

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.models import Judgment, Project
from rlhf.models import TrainingRun

LATEST_RUNS = 5
"""Of a stage, whose median is expected of the next one."""
SHORT, LONG = timedelta(hours=24), timedelta(days=7)
LEAST_PROGRESS = 0.02
MINUTE, HOUR, DAY = 60, 3600, 86_400


def judgments_per_hour(project: Project, *, now: datetime | None = None) -> float:
    """Over the last day; where nothing was judged in it, over the last week."""
    now = now or timezone.now()
    for period in (SHORT, LONG):
        judged = project.judgments.filter(Judgment.COUNTED, created_at__gt=now - period)
        began = judged.order_by("created_at").values_list("created_at", flat=True).first()
        if began is not None:
            # A project that began an hour ago has the pace of that hour.
            hours = max((now - began).total_seconds() / HOUR, 1.0)
            return judged.count() / hours
    return 0.0


def until_judged(missing: int, *, per_hour: float) -> float | None:
    """Seconds until so many more judgments; None where nobody judges."""
    return missing / per_hour * HOUR if per_hour > 0 else None


def usual_seconds(project: Project, stage: str) -> float | None:
    """How long runs of a stage took in this project; None before the first."""
    ended = project.training_runs.filter(
        stage=stage, status=TrainingRun.Status.SUCCEEDED, started_at__isnull=False, finished_at__isnull=False
    )
    times = ended.order_by("-pk").values_list("started_at", "finished_at")[:LATEST_RUNS]
    seconds = [(end - began).total_seconds() for began, end in times if began is not None and end is not None]
    return median(seconds) if seconds else None


def seconds_left(run: TrainingRun, *, now: datetime | None = None) -> float | None:
    """Of a run, from its progress, else from those before it; None where nothing is known."""
    usual = usual_seconds(run.project, run.stage)
    if run.status != TrainingRun.Status.RUNNING or run.started_at is None:
        return usual
    elapsed = ((now or timezone.now()) - run.started_at).total_seconds()
    if run.progress > LEAST_PROGRESS:
        return elapsed * (1 - run.progress) / run.progress
    return None if usual is None else max(0.0, usual - elapsed)


def in_words(seconds: float | None) -> str:
    """Such as "in about 20 minutes"; empty where nothing is known."""
    if seconds is None:
        return ""
    if seconds < MINUTE:
        return _("in less than a minute")
    for size, until in ((MINUTE, HOUR), (HOUR, 2 * DAY)):
        if seconds < until:
            number = round(seconds / size)
            if size == MINUTE:
                return ngettext("in about %(n)d minute", "in about %(n)d minutes", number) % {"n": number}
            return ngettext("in about %(n)d hour", "in about %(n)d hours", number) % {"n": number}
    number = round(seconds / DAY)
    return ngettext("in about %(n)d day", "in about %(n)d days", number) % {"n": number}
