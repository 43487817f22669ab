"""What is known of one labeler in a project: pace, agreement, known orders, signs, and the latest work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from annotate.labeling import judged_texts
from annotate.models import Judgment, JudgmentAcceptance, JudgmentReturn, LabelerReliability, Project, User
from annotate.quality.dashboard import DAYS, TREND_WEEKS
from annotate.quality.intervals import Share
from annotate.quality.measures.advice import Advice, advice
from annotate.quality.measures.report import Measures, Period, PeriodReport
from annotate.rendering.chart_figures import Cell, ChartFigure, Column, from_the_first_share

RECENT = 20


@dataclass(frozen=True, slots=True)
class CriterionRow:
    """agreement: pairs of equal ratings of a response. difference: by how much theirs are higher, on average."""

    label: str
    agreement: Share
    difference: float | None


class LabelerPage:
    """Each figure is computed when it is first asked for; days are those of UTC."""

    def __init__(self, project: Project, labeler: User, *, days: int = DAYS[1]) -> None:
        self.project, self.labeler = project, labeler
        self.days = days if days in DAYS else DAYS[1]
        self.report = PeriodReport(project, Period.last_days(self.days), labeler=labeler)

    @property
    def measures(self) -> Measures:
        return self.report.total

    @cached_property
    def agreement_change(self) -> Any:
        return self.measures.change_since(self.report.before.total)

    @cached_property
    def advice(self) -> list[Advice]:
        return advice(self.measures)

    @cached_property
    def per_day(self) -> list[tuple[date, Measures]]:
        return self.report.trend

    @cached_property
    def weeks(self) -> list[tuple[date, Measures]]:
        """(Monday, measures) of the last TREND_WEEKS weeks."""
        return PeriodReport(self.project, Period.last_weeks(TREND_WEEKS), labeler=self.labeler).weeks

    @property
    def days_chart(self) -> ChartFigure:
        return ChartFigure(
            form="stacked",
            title=_("Judgments per day"),
            description=_("Judgments per day; the table has the numbers."),
            csv="days",
            first_column=_("Day (UTC)"),
            columns=[Column(_("Judgments"), is_drawn=True), Column(_("Hours")), Column(_("Median time"))],
            rows=[
                (day, [Cell(of.judgments), Cell(of.hours, digits=1), Cell(of.median_seconds)])
                for day, of in self.per_day
            ],
        )

    @property
    def weeks_chart(self) -> ChartFigure:
        drawn = {"agreement": _("Others")} | ({"gold": _("Gold")} if self.has_gold else {})
        return ChartFigure(
            form="shares",
            title=_("Agreement by week"),
            description=_("Agreement by week with its interval; the table has the numbers."),
            csv="weeks",
            first_column=_("Week from"),
            columns=[*(Column(label, is_drawn=True) for label in drawn.values()), Column(_("Majority"))],
            rows=from_the_first_share(
                [(start, [Cell(share=getattr(of, name)) for name in (*drawn, "majority")]) for start, of in self.weeks]
            ),
        )

    @cached_property
    def criteria(self) -> list[CriterionRow]:
        """Of the rubric, by which somebody else rated the same responses."""
        rubric = self.project.rubric
        labels = {item["name"]: item["label"] for item in (rubric.criteria if rubric else [])}
        return [
            CriterionRow(
                label=labels.get(name, name),
                agreement=self.measures.criterion_agreement(name),
                difference=self.measures.criterion_difference(name),
            )
            for name in self.measures.criteria
        ]

    @cached_property
    def has_gold(self) -> bool:
        return any(measures.gold.total for _start, measures in self.weeks)

    @cached_property
    def reliability(self) -> LabelerReliability | None:
        return LabelerReliability.objects.filter(project=self.project, labeler=self.labeler, comparisons__gt=0).first()

    @cached_property
    def recent(self) -> list[tuple[Judgment, str]]:
        """The latest judgments with their lines."""
        returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
        accepted = JudgmentAcceptance.objects.filter(revision=OuterRef("latest"))
        found = Judgment.objects.filter(project=self.project, labeler=self.labeler, latest__isnull=False)
        latest = (
            found.order_by("-created_at")
            .select_related("latest__rubric", "labeler", "task__prompt", "assignment")
            .annotate(is_returned=Exists(returned), is_accepted=Exists(accepted))[:RECENT]
        )
        return [(judgment, judged_texts.line(judgment)) for judgment in latest]


def csv_rows(page: LabelerPage, name: str) -> Iterator[Sequence[Any]] | None:
    """The table of a chart with its head; None for a name that no chart has."""
    if name == "days":
        head = ("day", "judgments", "hours", "median_seconds")
        days = [(day.isoformat(), of.judgments, round(of.hours, 2), of.median_seconds) for day, of in page.per_day]
        return iter([head, *days])
    if name == "weeks":
        shares = ("agreement", "majority", "gold")
        week_head = ("week", *(f"{share}{part}" for share in shares for part in ("", "_low", "_high", "_pairs")))
        rows = [
            (
                start.isoformat(),
                *(cell for share in (getattr(of, name) for name in shares) for cell in _cells(share)),
            )
            for start, of in page.weeks
        ]
        return iter([week_head, *rows])
    if name == "criteria":
        criteria_head = ("criterion", "agreement", "agreement_low", "agreement_high", "pairs", "difference")
        return iter([criteria_head, *((row.label, *_cells(row.agreement), row.difference) for row in page.criteria)])
    return None


def _cells(share: Any) -> tuple[Any, ...]:
    return (share.rate, share.low, share.high, share.total)
