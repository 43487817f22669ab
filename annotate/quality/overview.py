"""A project's figures for its page: what there is, how fast each labeler is, how far they agree."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import Count, OuterRef, Q, Subquery

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
from annotate.quality.intervals import Estimate, Share
from annotate.quality.measures.report import Measures, Period, PeriodReport


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
    agreement: Share
    reliability: LabelerReliability | None


class ProjectOverview:
    """Each figure is computed when it's first asked for. Measures are those of all time (annotate.quality.measures)."""

    def __init__(self, project: Project) -> None:
        self.project = project

    @cached_property
    def report(self) -> PeriodReport:
        return PeriodReport(self.project, Period.everything(self.project))

    @cached_property
    def counts(self) -> Counts:
        project = self.project
        tasks = Task.objects.filter(project=project).aggregate(
            open=Count("pk", filter=Q(state=Task.State.OPEN)), complete=Count("pk", filter=Q(state=Task.State.COMPLETE))
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
            judgments=self.report.total.judgments,
            surplus=self.report.total.surplus,
        )

    @cached_property
    def labelers(self) -> list[Pace]:
        """Everybody who judges here or has judged, most judgments first."""
        skipped = dict(
            Assignment.objects.filter(project=self.project, state=Assignment.State.SKIPPED)
            .order_by()
            .values_list("labeler")
            .annotate(Count("pk"))
        )
        members = Membership.objects.filter(project=self.project, role=Membership.Role.LABELER).values("user")
        of_labeler = Judgment.objects.filter(labeler=OuterRef("pk"), project=self.project, latest__isnull=False)
        users = User.objects.filter(Q(pk__in=members) | Q(pk__in=[*self.report.by_labeler, *skipped])).annotate(
            last_at=Subquery(of_labeler.order_by("-created_at").values("created_at")[:1])
        )
        reliabilities = {
            row.labeler_id: row for row in LabelerReliability.objects.filter(project=self.project, comparisons__gt=0)
        }
        paces = []
        for user in users:
            measures = self.report.by_labeler.get(user.pk) or Measures({}, of_labeler=True)
            pace = Pace(
                labeler=user,
                judgments=measures.judgments,
                skipped=skipped.get(user.pk, 0),
                last_at=user.last_at,
                median_seconds=measures.median_seconds,
                per_hour=measures.per_hour,
                agreement=measures.agreement,
                reliability=reliabilities.get(user.pk),
            )
            paces.append(pace)
        return sorted(paces, key=lambda pace: (-pace.judgments, pace.labeler.username))

    @property
    def agreement(self) -> Share:
        return self.report.total.agreement

    @property
    def strict_agreement(self) -> Share:
        return self.report.total.strict_agreement

    @property
    def alpha(self) -> Estimate:
        return self.report.total.alpha

    @property
    def position_bias(self) -> Share:
        return self.report.total.position
