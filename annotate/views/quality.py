"""The quality of a project's labels in a period, and hours and counts for payment."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate.models import Prompt, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.intervals import Estimate, Share
from annotate.quality.measures.advice import Advice, advice
from annotate.quality.measures.payment import payment_rows
from annotate.quality.measures.report import Measures
from annotate.rendering.csv_tables import csv_stream, table_or_404
from annotate.rendering.period_charts import Chart, counted_chart, seconds_chart, share_chart
from annotate.views.period_pages import PeriodPage, period_response

USE_CASES = dict(Prompt.UseCase.choices)


@dataclass(frozen=True, kw_only=True)
class LabelerRow:
    """One labeler of the period. change: of their agreement since the period before."""

    labeler: User
    measures: Measures
    change: Estimate
    advice: list[Advice]


@dataclass(frozen=True, kw_only=True)
class CriterionRow:
    """One criterion of the rubric: how far labelers agree on it."""

    name: str
    label: str
    agreement: Share
    alpha: Estimate


class QualityPage(PeriodPage):
    """What the page and its CSV files show. Each part is computed when it is first asked for."""

    @cached_property
    def change(self) -> Estimate:
        return self.total.change_since(self.report.before.total)

    @cached_property
    def labelers(self) -> list[LabelerRow]:
        """Most judgments first."""
        found = {key: one for key, one in self.report.by_labeler.items() if one.judgments}
        before = self.report.before.by_labeler
        nothing = Measures({}, of_labeler=True)
        rows = [
            LabelerRow(
                labeler=user,
                measures=found[user.pk],
                change=found[user.pk].change_since(before.get(user.pk, nothing)),
                advice=advice(found[user.pk]),
            )
            for user in User.objects.filter(pk__in=found)
        ]
        return sorted(rows, key=lambda row: (-row.measures.judgments, row.labeler.username))

    @cached_property
    def known(self) -> set[str]:
        """The measures that say something of some labeler, where often nobody has them."""
        measures = [row.measures for row in self.labelers]
        names = {name for name in ("majority", "gold", "reward") if any(getattr(one, name).total for one in measures)}
        return names | ({"consistency"} if any(one.repeats for one in measures) else set())

    @property
    def use_cases(self) -> list[tuple[str, Measures]]:
        return [(str(USE_CASES.get(name, name or "–")), one) for name, one in self.report.by_use_case.items()]

    @property
    def languages(self) -> list[tuple[str, Measures]]:
        return [(name or "–", one) for name, one in self.report.by_language.items()]

    @cached_property
    def criteria(self) -> list[CriterionRow]:
        rubric = self.project.rubric
        labels = {item["name"]: item["label"] for item in (rubric.criteria if rubric else [])}
        return [
            CriterionRow(
                name=name,
                label=labels.get(name, name),
                agreement=self.total.criterion_agreement(name),
                alpha=self.total.criterion_alpha(name),
            )
            for name in self.total.criteria
        ]

    @property
    def charts(self) -> list[Chart]:
        """Those of which there is something to see."""
        trend = self.report.trend
        found = [
            counted_chart("judgments", _("Judgments"), [(at, one.judgments) for at, one in trend]),
            share_chart("agreement", _("Agreement"), [(at, one.agreement) for at, one in trend]),
            share_chart("gold", _("Agreement with gold orders"), [(at, one.gold) for at, one in trend]),
            share_chart("reward", _("Agreement with the reward model"), [(at, one.reward) for at, one in trend]),
            share_chart("position", _("First shown preferred"), [(at, one.position) for at, one in trend]),
            seconds_chart("seconds", _("Median seconds a task"), [(at, one.median_seconds) for at, one in trend]),
        ]
        return [chart for chart in found if any(point.value not in ("", "0") for point in chart.points)]

    def table(self, name: str) -> Iterator[list[Any]] | None:
        """The rows of a table as CSV has them; None for a name that isn't one's."""
        tables = {
            "trend": lambda: _table("start", ((start.isoformat(), one) for start, one in self.report.trend)),
            "labelers": lambda: _table("labeler", ((row.labeler.display_name, row.measures) for row in self.labelers)),
            "use_cases": lambda: _table("use_case", iter(self.use_cases)),
            "languages": lambda: _table("language", iter(self.languages)),
            "criteria": lambda: _criteria_table(self.criteria),
        }
        return tables[name]() if name in tables else None


@require_safe
@requires(Capability.SEE_DATA)
def quality(request: ProjectRequest) -> HttpResponse:
    page = QualityPage(request.project, request.GET)
    return period_response(
        request,
        "annotate/quality.html",
        page,
        may_manage=Capability.MANAGE in request.capabilities,
        may_export=Capability.EXPORT in request.capabilities,
    )


@require_safe
@requires(Capability.SEE_DATA)
def quality_table(request: ProjectRequest, name: str) -> HttpResponseBase:
    """A table of the page as CSV."""
    rows = QualityPage(request.project, request.GET).table(name)
    return csv_stream(f"{request.project.slug}-{name}", table_or_404(rows))


@require_safe
@requires(Capability.EXPORT)
def payment(request: ProjectRequest) -> HttpResponseBase:
    """Hours and counts by labeler: by name for managers, by pseudonym for researchers."""
    page = QualityPage(request.project, request.GET)
    by_name = Capability.MANAGE in request.capabilities
    grain = "month" if request.GET.get("by") == "month" else "day"
    rows = payment_rows(request.project, page.period, grain=grain, by_name=by_name)
    return csv_stream(f"{request.project.slug}-hours-{page.period.first}-{page.period.last}", rows)


SHARES = (
    "agreement",
    "strict_agreement",
    "majority",
    "adjudicated",
    "gold",
    "reward",
    "position",
    "length",
    "best_first",
    "hasty",
)
ESTIMATES = ("tau", "alpha", "consistency")


def _table(first: str, rows: Iterator[tuple[str, Measures]]) -> Iterator[list[Any]]:
    yield [
        first,
        *("judgments", "hours", "seconds_q1", "seconds_median", "seconds_q3"),
        *(f"{name}{part}" for name in SHARES for part in ("", "_low", "_high", "_of")),
        *(f"{name}{part}" for name in ESTIMATES for part in ("", "_low", "_high")),
        "repeats",
    ]
    for name, one in rows:
        quartiles = one.quartiles or (None, None, None)
        shares = [getattr(one, share) for share in SHARES]
        yield [
            name,
            one.judgments,
            round(one.hours, 4),
            *quartiles,
            *(_rounded(value) for share in shares for value in (share.rate, share.low, share.high, share.total)),
            *(
                _rounded(value)
                for found in (getattr(one, name) for name in ESTIMATES)
                for value in (found.value, found.low, found.high)
            ),
            one.repeats,
        ]


def _criteria_table(rows: list[CriterionRow]) -> Iterator[list[Any]]:
    yield ["criterion", "pairs", "agreement", "agreement_low", "agreement_high", "alpha", "alpha_low", "alpha_high"]
    for row in rows:
        values = (row.agreement.rate, row.agreement.low, row.agreement.high)
        estimate = (row.alpha.value, row.alpha.low, row.alpha.high)
        yield [row.label, row.agreement.total, *(_rounded(value) for value in (*values, *estimate))]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
