"""What people prefer, how far they agree, and what noise allows: a page whose filters are all in its address."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate import navigation
from annotate.forms.period import AnalysisForm
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.measures.report import PeriodReport
from annotate.quality.preference_analysis.noise_ceiling import NoiseCeiling
from annotate.quality.preference_analysis.win_tables import WinTable, WinTables
from annotate.rendering.csv_tables import csv_file, table_or_404
from annotate.rendering.period_charts import Chart, share_chart
from annotate.views.period_pages import PeriodPage, period_response


class AnalysisPage(PeriodPage):
    """What the page and its CSV files show. Each part is read when it is first asked for."""

    form_class = AnalysisForm

    @cached_property
    def tables(self) -> WinTables:
        author = self.form.cleaned_data.get("author", "") if self.form.is_valid() else ""
        return WinTables(self.report, author)

    @property
    def chosen(self) -> dict[str, str]:
        return super().chosen | ({"author": self.tables.chosen} if self.tables.chosen else {})

    @cached_property
    def shown(self) -> list[WinTable]:
        """The tables of which there is something to see."""
        tables = self.tables
        found = (
            *(tables.by_author, tables.by_use_case, tables.by_language),
            *(tables.by_place, tables.by_length, tables.by_ratio),
        )
        return [table for table in found if not table.is_empty or (table.has_details and len(table.rows) > 1)]

    @property
    def charts(self) -> list[Chart]:
        trend = self.report.trend
        found = [
            share_chart("agreement", _("Agreement"), [(start, one.agreement) for start, one in trend]),
            share_chart("strict", _("Agreement without ties"), [(start, one.strict_agreement) for start, one in trend]),
        ]
        return [chart for chart in found if any(point.value for point in chart.points)]

    def table(self, name: str) -> Iterator[Sequence[Any]] | None:
        """The rows of a table as CSV has them; None for a name that isn't one's."""
        if name == "trend":
            return _trend(self.report)
        if name == "noise":
            return _noise(self.ceiling)
        tables = {table.name: table for table in self.shown}
        return tables[name].csv_rows() if name in tables else None


@require_safe
@requires(Capability.SEE_DATA)
def analysis(request: ProjectRequest) -> HttpResponse:
    """?first=&last=&use_case=&language=&kind=&author= choose what is shown, ?csv=authors gives a table."""
    page = AnalysisPage(request.project, request.GET)
    if name := request.GET.get("csv"):
        return csv_file(f"{request.project.slug}-{name}", table_or_404(page.table(name)))
    return period_response(
        request,
        "annotate/analysis.html",
        page,
        authors=[(row.name, row.label) for row in page.tables.by_author.rows],
        shown_author=page.tables.shown_author,
        links=navigation.links_within("annotate:analysis", project=request.project, granted=request.capabilities),
    )


def _trend(report: PeriodReport) -> Iterator[Sequence[Any]]:
    names = ("agreement", "strict_agreement")
    yield ("start", *(f"{name}{part}" for name in names for part in ("", "_low", "_high", "_pairs")))
    for start, one in report.trend:
        shares = (one.agreement, one.strict_agreement)
        yield (
            start.isoformat(),
            *(value for share in shares for value in (share.rate, share.low, share.high, share.total)),
        )


def _noise(ceiling: NoiseCeiling) -> Iterator[Sequence[Any]]:
    yield ("estimate", "value", "low", "high", "pairs", "tasks")
    figures = {
        "labelers_differ": ceiling.differing,
        "best_accuracy_at_least": ceiling.least,
        "best_accuracy_at_most": ceiling.most,
    }
    for name, one in figures.items():
        yield (name, one.value, one.low, one.high, ceiling.agreement.total, ceiling.agreement.clusters)
