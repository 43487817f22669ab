"""The reward model against people: how often they prefer the response that it scores higher, and what noise allows."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate.forms.period import AnalysisForm
from annotate.models import ResponseScore
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.preference_analysis import win_tables
from annotate.quality.preference_analysis.win_tables import WinTable
from annotate.rendering.chart_figures import strip
from annotate.rendering.csv_tables import csv_file, table_or_404
from annotate.rendering.period_charts import Chart, share_chart
from annotate.views.period_pages import PeriodPage, period_response
from rlhf.models import ModelVersion

MOST_VERSIONS = 20
LATEST = 500
"""Scores of which the reward models are named."""


class RewardPage(PeriodPage):
    """What the page and its CSV files show. Each part is read when it is first asked for."""

    form_class = AnalysisForm

    @cached_property
    def tables(self) -> list[WinTable]:
        """Those of which there is something to see."""
        use_cases = (
            (name, str(win_tables.USE_CASES.get(name, name or "–")), one)
            for name, one in self.report.by_use_case.items()
        )
        languages = ((name, name or "–", one) for name, one in self.report.by_language.items())
        found = [
            win_tables.by_score_gap(self.report.wins),
            win_tables.by_reward_agreement("use_cases", _("By use case"), _("Use case"), use_cases),
            win_tables.by_reward_agreement("languages", _("By language"), _("Language"), languages),
        ]
        return [table for table in found if not table.is_empty]

    @property
    def charts(self) -> list[Chart]:
        values = [(start, one.reward) for start, one in self.report.trend]
        chart = share_chart("reward", _("Higher score preferred"), values)
        return [chart] if any(point.value for point in chart.points) else []

    @property
    def scorers(self) -> list[str]:
        """The reward models whose scores were handed over last."""
        scores = ResponseScore.objects.filter(response__prompt__project=self.project).order_by("-pk")
        return sorted(set(scores.values_list("scorer", flat=True)[:LATEST]))

    @cached_property
    def versions(self) -> list[ModelVersion]:
        """The newest reward models that were measured on held-out pairs."""
        rewards = ModelVersion.objects.filter(project=self.project, kind=ModelVersion.Kind.REWARD).order_by("-number")
        return [version for version in rewards[:MOST_VERSIONS] if isinstance(version.metrics.get("accuracy"), float)]

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The versions with their accuracy on held-out pairs."""
        names = ("accuracy", "accuracy_low", "accuracy_high", "eval_pairs")
        rows = [{"version": one, **{name: one.metrics.get(name) for name in names}} for one in self.versions]
        return [row | {"strip": strip(*(row[name] for name in names[:3]))} for row in rows]

    def table(self, name: str) -> Iterator[Sequence[Any]] | None:
        """The rows of a table as CSV has them; None for a name that isn't one's."""
        if name == "trend":
            return _trend(self)
        if name == "versions":
            return _versions(self)
        tables = {table.name: table for table in self.tables}
        return tables[name].csv_rows() if name in tables else None


@require_safe
@requires(Capability.TRAIN)
def reward_against_people(request: ProjectRequest) -> HttpResponse:
    """?first=&last=&use_case=&language=&kind= choose what is shown, ?csv=gaps gives a table."""
    page = RewardPage(request.project, request.GET)
    if name := request.GET.get("csv"):
        return csv_file(f"{request.project.slug}-reward-{name}", table_or_404(page.table(name)))
    return period_response(request, "rlhf/reward_against_people.html", page)


def _trend(page: RewardPage) -> Iterator[Sequence[Any]]:
    yield ("start", "rate", "low", "high", "pairs")
    for start, one in page.report.trend:
        yield (start.isoformat(), one.reward.rate, one.reward.low, one.reward.high, one.reward.total)


def _versions(page: RewardPage) -> Iterator[Sequence[Any]]:
    yield ("version", "accuracy", "accuracy_low", "accuracy_high", "pairs")
    for row in page.measured:
        yield (
            row["version"].label,
            *(row[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "eval_pairs")),
        )
