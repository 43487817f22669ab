"""What a manager looks at every morning: the week against the plan, the backlog, agreement, and what waits.

Everything comes from counts and sums that jobs keep (project_figures, measures), but for who is active now.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.labeling.checks import thresholds
from annotate.models import Assignment, Judgment, Membership, Project, Prompt, User
from annotate.people import notices
from annotate.people.permissions import ROLE_CAPABILITIES, Capability
from annotate.people.projects import overlap_warning
from annotate.quality import project_figures
from annotate.quality.forecast import Forecast, forecast
from annotate.quality.intervals import Share
from annotate.quality.measures.advice import Advice, Sign, advice
from annotate.quality.measures.report import Measures, Period, PeriodReport, today
from annotate.rendering.chart_figures import Cell, ChartFigure, Column, from_the_first_share

DAYS = (7, 28, 91)
"""Periods that the page offers."""
PACE_DAYS = 14
SPARK_DAYS = 14
TREND_WEEKS = 12
MOST_SERIES = 8
"""Labelers who have a colour of their own in the chart; the rest are one."""
ACTIVE_FOR = timedelta(minutes=15)
WARNED_FOR = timedelta(days=7)
SHORT_SIGNS = {
    Sign.HASTE: gettext_lazy("haste"),
    Sign.PASTE: gettext_lazy("paste"),
    Sign.AS_SHOWN: gettext_lazy("order as shown"),
    Sign.SAME_RATINGS: gettext_lazy("same ratings"),
    Sign.POSITION: gettext_lazy("position"),
    Sign.CONTRARY: gettext_lazy("contrary"),
}
"""A word for each sign, where its sentence has no room."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A labeler in the table. spark: judgments of the last SPARK_DAYS days, the oldest first."""

    labeler: User
    measures: Measures
    spark: Sequence[int]
    last_at: datetime | None
    is_active: bool
    is_paused: bool
    advice: list[Advice] = field(default_factory=list)

    @property
    def has_spark(self) -> bool:
        return any(self.spark)

    @property
    def signs(self) -> list[tuple[str, str]]:
        """(a word, the sentence) of each sign."""
        return [(str(SHORT_SIGNS[item.sign]), item.sign.label) for item in self.advice]


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of the chart; `total` over its days."""

    label: str
    values: list[int]
    total: int


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to look at, and where."""

    text: str
    url: str = ""
    level: str = "warn"


class Dashboard:
    """Each figure is computed when it is first asked for; days are those of UTC."""

    def __init__(self, project: Project, *, days: int = DAYS[1], reader: User | None = None) -> None:
        self.project, self.reader = project, reader
        self.days = days if days in DAYS else DAYS[1]
        self.today = today()

    @cached_property
    def report(self) -> PeriodReport:
        return PeriodReport(self.project, Period.last_days(self.days))

    @cached_property
    def figures(self) -> project_figures.Figures | None:
        return project_figures.of(self.project)

    @cached_property
    def has_measures(self) -> bool:
        return self.report.computed_at is not None

    # ---- the first row

    @cached_property
    def _per_day(self) -> dict[date, dict[int, int]]:
        """{day: {labeler: judgments}} of the last days that any figure here needs."""
        days = max(self.days, PACE_DAYS + 1, 7 * 2)
        return PeriodReport(self.project, Period.last_days(days)).judgments_by_start

    def _on(self, day: date) -> int:
        return sum(self._per_day.get(day, {}).values())

    @property
    def judged_today(self) -> int:
        return self._on(self.today)

    @property
    def judged_this_week(self) -> int:
        """Since Monday."""
        return sum(self._on(self.today - timedelta(days=number)) for number in range(self.today.weekday() + 1))

    @property
    def plan(self) -> int | None:
        return self.project.weekly_judgments

    @property
    def plan_share(self) -> float | None:
        return self.judged_this_week / self.plan if self.plan else None

    @property
    def expected_share(self) -> float:
        """How much of the plan an even week would have by the end of today."""
        return (self.today.weekday() + 1) / 7

    @property
    def is_behind_plan(self) -> bool:
        share = self.plan_share
        return share is not None and share < min(1.0, self.expected_share) - 1 / 7

    @property
    def backlog(self) -> int | None:
        return self.figures.wanted if self.figures else None

    @cached_property
    def forecast(self) -> Forecast | None:
        past = [self._on(self.today - timedelta(days=number)) for number in range(PACE_DAYS, 0, -1)]
        return forecast(self.backlog or 0, past, today=self.today)

    @property
    def measures(self) -> Measures:
        return self.report.total

    @cached_property
    def agreement_change(self) -> Any:
        """Against the period of the same length before: an Estimate of the difference."""
        return self.measures.change_since(self.report.before.total)

    @cached_property
    def waiting(self) -> list[notices.Notice]:
        """What waits for the reader here."""
        if self.reader is None:
            return []
        return [found for found in notices.of(self.reader) if found.waits and found.project.pk == self.project.pk]

    @cached_property
    def alerts(self) -> list[Alert]:
        found = []
        if self.project.overlap > 1 and (warning := overlap_warning(self.project)):
            found.append(Alert(warning, reverse("annotate:people", args=[self.project.slug])))
        for row in self.rows:
            url = reverse("annotate:labeler", args=[self.project.slug, row.labeler.pk])
            if row.is_paused:
                found.append(Alert(_("%(name)s is paused") % {"name": row.labeler.display_name}, url))
            if row.advice:
                text = ngettext(
                    "%(name)s: %(n)d sign to look at", "%(name)s: %(n)d signs to look at", len(row.advice)
                ) % {"name": row.labeler.display_name, "n": len(row.advice)}
                found.append(Alert(text, url))
        return found + self._alerts_of_checks

    @property
    def _alerts_of_checks(self) -> list[Alert]:
        """What followed from thresholds of hidden checks, of those who may judge here."""
        url = reverse("annotate:quality_checks", args=[self.project.slug])
        members = {membership.user_id for membership in self._memberships}
        sentences = {
            Project.CheckAction.WARN: _("%(name)s was warned after hidden checks (%(rate)s)"),
            Project.CheckAction.REQUALIFY: _("%(name)s has to pass the exam again after hidden checks (%(rate)s)"),
        }
        return [
            Alert(
                sentences[Project.CheckAction(alert.action)]
                % {"name": alert.labeler.display_name, "rate": f"{alert.rate:.0%}"},
                url,
            )
            for alert in thresholds.to_look_at(self.project, since=timezone.now() - WARNED_FOR)
            if alert.labeler_id in members
        ]

    # ---- charts

    @cached_property
    def chart_days(self) -> list[date]:
        return [self.today - timedelta(days=number) for number in range(self.days - 1, -1, -1)]

    @cached_property
    def series(self) -> list[Series]:
        """Judgments per day by labeler, most first; from the MOST_SERIES-th on together."""
        totals: Counter[int] = Counter()
        for day in self.chart_days:
            totals.update(self._per_day.get(day, {}))
        ranked = [labeler for labeler, _count in totals.most_common()]
        own = ranked if len(ranked) <= MOST_SERIES else ranked[: MOST_SERIES - 1]
        names = self._names(own)
        found = [
            Series(
                names.get(labeler, "–"),
                [self._per_day.get(day, {}).get(labeler, 0) for day in self.chart_days],
                totals[labeler],
            )
            for labeler in own
        ]
        if rest := set(ranked) - set(own):
            values = [sum(self._per_day.get(day, {}).get(key, 0) for key in rest) for day in self.chart_days]
            label = ngettext("%(n)d other", "%(n)d others", len(rest)) % {"n": len(rest)}
            found.append(Series(label, values, sum(values)))
        return found

    @cached_property
    def day_rows(self) -> list[tuple[date, list[int], int]]:
        """(day, judgments by series, all) for the chart's table."""
        return [
            (day, row := [series.values[number] for series in self.series], sum(row))
            for number, day in enumerate(self.chart_days)
        ]

    @property
    def days_chart(self) -> ChartFigure:
        return ChartFigure(
            form="stacked",
            title=_("Judgments per day"),
            description=_("Judgments per day by labeler; the table has the numbers."),
            csv="days",
            first_column=_("Day (UTC)"),
            columns=[*(Column(series.label, is_drawn=True) for series in self.series), Column(_("all"))],
            rows=[(day, [Cell(count) for count in (*counts, total)]) for day, counts, total in self.day_rows],
        )

    @property
    def weeks_chart(self) -> ChartFigure | None:
        """None without a pair to agree on."""
        if not self.measures.agreement.total and not self.has_gold:
            return None
        names = {"agreement": _("Each other"), "gold": _("Gold")}
        if not self.has_gold:
            names.pop("gold")
        return ChartFigure(
            form="shares",
            title=_("Agreement by week"),
            description=_("Agreement by week with its interval; the table has the numbers."),
            csv="weeks",
            first_column=_("Week from"),
            columns=[
                column for label in names.values() for column in (Column(label, is_drawn=True), Column(_("Pairs")))
            ],
            rows=from_the_first_share(
                [
                    (start, [cell for name in names for cell in _share_cells(getattr(measures, name))])
                    for start, measures in self.weeks
                ]
            ),
        )

    @cached_property
    def weeks(self) -> list[tuple[date, Measures]]:
        """(Monday, measures) of the last TREND_WEEKS weeks."""
        return PeriodReport(self.project, Period.last_weeks(TREND_WEEKS)).weeks

    @cached_property
    def has_gold(self) -> bool:
        return any(measures.gold.total for _week, measures in self.weeks)

    @cached_property
    def use_cases(self) -> list[tuple[str, int, int]]:
        """(name, prompts, judgments), most prompts first."""
        labels = dict(Prompt.UseCase.choices)
        counted = self.figures.use_cases if self.figures else {}
        return _covered({str(labels.get(name, name)): counts for name, counts in counted.items()})

    @cached_property
    def languages(self) -> list[tuple[str, int, int]]:
        counted = self.figures.languages if self.figures else {}
        return _covered({name or str(_("not known")): counts for name, counts in counted.items()})

    # ---- people

    @cached_property
    def rows(self) -> list[Row]:
        """Everybody who judged in the period or may judge here, most judgments first."""
        measured = self.report.by_labeler
        members = {membership.user_id: membership for membership in self._memberships}
        people = User.objects.filter(pk__in={*measured, *members})
        last = self._last_at({*measured, *members})
        days = [self.today - timedelta(days=number) for number in range(SPARK_DAYS - 1, -1, -1)]
        found = []
        for person in people:
            measures = measured.get(person.pk) or Measures({}, of_labeler=True)
            membership = members.get(person.pk)
            if not measures.judgments and (membership is None or membership.role != Membership.Role.LABELER):
                continue
            found.append(
                Row(
                    labeler=person,
                    measures=measures,
                    spark=[self._per_day.get(day, {}).get(person.pk, 0) for day in days],
                    last_at=last.get(person.pk),
                    is_active=person.pk in self._active,
                    is_paused=getattr(membership, "paused_at", None) is not None,
                    advice=advice(measures),
                )
            )
        return sorted(found, key=lambda row: (-row.measures.judgments, row.labeler.username))

    @cached_property
    def active(self) -> list[User]:
        """Who submitted or holds a task that they touched in the last ACTIVE_FOR."""
        return list(User.objects.filter(pk__in=self._active).order_by("username"))

    @cached_property
    def _active(self) -> set[int]:
        since = timezone.now() - ACTIVE_FOR
        judged = Judgment.objects.filter(Judgment.BY_LABELERS, project=self.project, created_at__gte=since).order_by()
        # A lease is renewed while its page is in use: what is left of it says when that was last.
        lease = timedelta(minutes=self.project.lease_minutes)
        # Of all projects, by the index of open leases: asked for one, SQLite reads every assignment that it ever had.
        held = Assignment.objects.filter(
            ended_at=None, state=Assignment.State.CURRENT, lease_until__gte=max(since + lease, timezone.now())
        ).order_by()
        people = {labeler for project, labeler in held.values_list("project", "labeler") if project == self.project.pk}
        return people | set(judged.values_list("labeler", flat=True).distinct())

    @cached_property
    def _memberships(self) -> QuerySet[Membership]:
        """Of those who may judge; of somebody with several roles that of a labeler comes last, and counts."""
        roles = [role for role, granted in ROLE_CAPABILITIES.items() if Capability.LABEL in granted]
        found = Membership.objects.filter(project=self.project, role__in=roles)
        return found.order_by("-role")

    def _last_at(self, people: set[int]) -> dict[int, datetime]:
        """When each of them judged last; one look into an index for each."""
        judged = Judgment.objects.filter(labeler=OuterRef("pk"), project=self.project)
        last = Subquery(judged.order_by("-created_at").values("created_at")[:1])
        found = User.objects.filter(pk__in=people).order_by().values_list("pk", last)
        return {person: at for person, at in found if at is not None}

    def _names(self, people: Sequence[int]) -> dict[int, str]:
        return {person.pk: person.display_name for person in User.objects.filter(pk__in=people)}


def _share_cells(share: Share) -> tuple[Cell, Cell]:
    return Cell(share=share), Cell(share.total)


def _covered(counted: dict[str, list[int]]) -> list[tuple[str, int, int]]:
    rows = [(name, prompts, judgments) for name, (prompts, judgments) in counted.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def spark_points(values: Sequence[int], *, width: int = 84, height: int = 20) -> str:
    """Points of a polyline; coordinates have a point, whatever the language writes decimals with."""
    most = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{height - 1 - (height - 3) * value / most:.1f}" for number, value in enumerate(values)
    )


def csv_rows(dashboard: Dashboard, name: str) -> Iterator[Sequence[Any]] | None:
    """The table of a chart with its head; None for a name that no chart has."""
    if name == "days":
        return _day_table(dashboard)
    if name == "weeks":
        return _week_table(dashboard)
    if name in ("use_cases", "languages"):
        rows = dashboard.use_cases if name == "use_cases" else dashboard.languages
        return iter([(name, "prompts", "judgments"), *rows])
    return _labeler_table(dashboard) if name == "labelers" else None


def _day_table(dashboard: Dashboard) -> Iterator[Sequence[Any]]:
    yield ("day", *(series.label for series in dashboard.series), "all")
    for day, counts, total in dashboard.day_rows:
        yield (day.isoformat(), *counts, total)


def _week_table(dashboard: Dashboard) -> Iterator[Sequence[Any]]:
    shares = ("agreement", "gold")
    yield ("week", *(f"{name}{part}" for name in shares for part in ("", "_low", "_high", "_pairs")))
    for start, measures in dashboard.weeks:
        found = [getattr(measures, name) for name in shares]
        yield (
            start.isoformat(),
            *(cell for share in found for cell in (share.rate, share.low, share.high, share.total)),
        )


def _labeler_table(dashboard: Dashboard) -> Iterator[Sequence[Any]]:
    yield (
        *(
            "labeler",
            "judgments",
            "hours",
            "per_hour",
            "median_seconds",
            "agreement",
            "agreement_low",
            "agreement_high",
        ),
        *("gold", "gold_low", "gold_high", "signs", "last"),
    )
    for row in dashboard.rows:
        measures = row.measures
        yield (
            row.labeler.username,
            measures.judgments,
            round(measures.hours, 2),
            measures.per_hour,
            measures.median_seconds,
            *(measures.agreement.rate, measures.agreement.low, measures.agreement.high),
            *(measures.gold.rate, measures.gold.low, measures.gold.high),
            " ".join(item.sign for item in row.advice),
            row.last_at.isoformat() if row.last_at else "",
        )
