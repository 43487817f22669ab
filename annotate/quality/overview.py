"""A project's figures for its page: what there is, how fast each labeler is, how far they agree."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import fmean, median

from django.db.models import Count, Max, Q, QuerySet

from annotate.labeling.ordering import Ordering
from annotate.models import (
    Assignment,
    Demonstration,
    Judgment,
    LabelerReliability,
    Membership,
    Project,
    Prompt,
    Response,
    Task,
    User,
)
from annotate.quality.agreement import (
    JudgedTask,
    Share,
    agreement,
    agreement_with_others,
    ordinal_alpha,
    position_bias,
)

# The page stays quick in a project of any size: these many of the latest are looked at.
LATEST_TASKS = 2_000
LATEST_JUDGMENTS = 10_000
NOTHING = (0, None)


@dataclass(frozen=True, kw_only=True)
class Counts:
    prompts: int
    responses: int
    demonstrations: int
    tasks_open: int
    tasks_complete: int
    in_work: int
    judgments: int
    surplus: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One labeler's work. per_hour and median_seconds are None where no time is known; they leave out pauses.

    reliability: as the job last stored it, see quality.consensus; None where the labeler shared no comparison.
    """

    labeler: User
    judgments: int
    skipped: int
    last_at: datetime | None
    median_seconds: float | None
    per_hour: float | None
    agreement: Share | None
    reliability: LabelerReliability | None


class ProjectOverview:
    """Each figure is computed when it's first asked for.

    agreement, strict_agreement and alpha rest on the latest LATEST_TASKS tasks with two or more judgments
    and position_bias on the latest LATEST_JUDGMENTS judgments; see annotate.quality.agreement for what they mean.
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    @cached_property
    def counts(self) -> Counts:
        project = self.project
        tasks = Task.objects.filter(project=project).aggregate(
            open=Count("pk", filter=Q(state=Task.State.OPEN)), complete=Count("pk", filter=Q(state=Task.State.COMPLETE))
        )
        judgments = Judgment.objects.filter(Judgment.COUNTED, project=project).aggregate(
            all=Count("pk"), surplus=Count("pk", filter=Q(surplus=True))
        )
        return Counts(
            prompts=Prompt.objects.filter(project=project).count(),
            responses=Response.objects.filter(prompt__project=project).count(),
            demonstrations=Demonstration.objects.filter(prompt__project=project, withdrawn_at=None)
            .exclude(assignment__isnull=False, assignment__is_check=True)
            .count(),
            tasks_open=tasks["open"],
            tasks_complete=tasks["complete"],
            in_work=Assignment.objects.filter(project=project, state__in=Assignment.HELD, is_check=False).count(),
            judgments=judgments["all"],
            surplus=judgments["surplus"],
        )

    @cached_property
    def labelers(self) -> list[Pace]:
        """Everybody who judges here or has judged, most judgments first."""
        done = {
            row["labeler"]: (row["judgments"], row["last_at"])
            for row in Judgment.objects.filter(Judgment.WORK, project=self.project)
            .order_by()
            .values("labeler")
            .annotate(judgments=Count("pk"), last_at=Max("created_at"))
        }
        skipped = dict(
            Assignment.objects.filter(project=self.project, state=Assignment.State.SKIPPED)
            .order_by()
            .values_list("labeler")
            .annotate(Count("pk"))
        )
        members = Membership.objects.filter(project=self.project, role=Membership.Role.LABELER).values("user")
        users = User.objects.filter(Q(pk__in=members) | Q(pk__in=[*done, *skipped]))
        agreements = agreement_with_others(self._judged_tasks)
        reliabilities = {
            row.labeler_id: row for row in LabelerReliability.objects.filter(project=self.project, comparisons__gt=0)
        }
        paces = [
            Pace(
                labeler=user,
                judgments=done.get(user.pk, NOTHING)[0],
                skipped=skipped.get(user.pk, 0),
                last_at=done.get(user.pk, NOTHING)[1],
                median_seconds=median(seconds) if (seconds := self._seconds.get(user.pk)) else None,
                per_hour=3600 / mean if seconds and (mean := fmean(seconds)) > 0 else None,
                agreement=agreements.get(user.pk),
                reliability=reliabilities.get(user.pk),
            )
            for user in users
        ]
        return sorted(paces, key=lambda pace: (-pace.judgments, pace.labeler.username))

    @cached_property
    def agreement(self) -> Share:
        return agreement(self._judged_tasks)

    @cached_property
    def strict_agreement(self) -> Share:
        return agreement(self._judged_tasks, strict=True)

    @cached_property
    def alpha(self) -> float | None:
        return ordinal_alpha(self._judged_tasks)

    @cached_property
    def position_bias(self) -> Share:
        latest = self._judgments().order_by("-pk")[:LATEST_JUDGMENTS]
        # Imported judgments were never shown here.
        shown = latest.values_list("latest__tiers", "assignment__presentation", "assignment__opened_at")
        return position_bias((Ordering.stored(tiers), order) for tiers, order, opened in shown if opened is not None)

    def _judgments(self) -> QuerySet[Judgment]:
        return Judgment.objects.filter(Judgment.COUNTED, project=self.project, task__kind=Task.Kind.COMPARE)

    @cached_property
    def _judged_tasks(self) -> list[JudgedTask]:
        """The orderings of the latest tasks that two or more labelers judged."""
        tasks = (
            self._judgments()
            .order_by()
            .values("task")
            .annotate(given=Count("pk"))
            .filter(given__gt=1)
            .order_by("-task")
        )
        latest = [row["task"] for row in tasks[:LATEST_TASKS]]
        judged: dict[int, dict[int, Ordering]] = {}
        for some in _batches(latest):
            rows = self._judgments().filter(task__in=some).values_list("task", "labeler", "latest__tiers")
            for task_id, labeler_id, tiers in rows:
                judged.setdefault(task_id, {})[labeler_id] = Ordering.stored(tiers)
        return list(judged.values())

    @cached_property
    def _seconds(self) -> dict[int, list[float]]:
        rows = self._judgments().filter(latest__seconds__isnull=False).order_by("-pk")
        seconds: dict[int, list[float]] = {}
        for labeler_id, spent in rows.values_list("labeler", "latest__seconds")[:LATEST_JUDGMENTS]:
            seconds.setdefault(labeler_id, []).append(spent or 0.0)
        return seconds


def _batches(ids: list[int], size: int = 500) -> Iterator[list[int]]:
    """SQLite takes only so many values in one statement."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
