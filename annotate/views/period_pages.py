"""Pages of the measures of a period and a part of a project: the filters are in the address, htmx swaps the figures."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render

from annotate.forms.period import PeriodForm
from annotate.labeling import task_kinds
from annotate.models import Project, Prompt
from annotate.people.permissions import ProjectRequest
from annotate.quality.measures.report import Measures, PeriodReport
from annotate.quality.preference_analysis.noise_ceiling import NoiseCeiling


class PeriodPage:
    """The period and part of a project that an address names, and their measures."""

    form_class: type[PeriodForm] = PeriodForm

    def __init__(self, project: Project, given: Mapping[str, str]) -> None:
        self.project = project
        self.form = self.form_class(given or None, project=project)
        self.period = self.form.period
        part = self.form.part
        self.report = PeriodReport(
            project, self.period, use_case=part["use_case"], language=part["language"], kind=part["kind"]
        )

    @property
    def total(self) -> Measures:
        return self.report.total

    @property
    def ceiling(self) -> NoiseCeiling:
        return NoiseCeiling.of(self.total.strict_agreement)

    @cached_property
    def known_languages(self) -> list[str]:
        return self.report.known_languages

    @property
    def chosen(self) -> dict[str, str]:
        """The filters with the days by name, so that the address shows the same period tomorrow."""
        period = {"first": self.period.first.isoformat(), "last": self.period.last.isoformat()}
        return {name: value for name, value in (period | self.form.part).items() if value}

    @property
    def query(self) -> str:
        return urlencode(self.chosen)


def period_response(request: ProjectRequest, template: str, page: PeriodPage, **context: Any) -> HttpResponse:
    """The whole page, or for htmx its part `figures` alone; 400 where a filter can't be read."""
    context |= {
        "project": request.project,
        "page": page,
        "kinds": task_kinds.choices(),
        "use_cases": Prompt.UseCase.choices,
    }
    only_figures = request.htmx and request.htmx.target == "figures"  # type: ignore[attr-defined]
    return render(
        request, f"{template}#figures" if only_figures else template, context, status=400 if page.form.errors else 200
    )
