"""The period and the part of a project whose measures a page shows, out of its address."""

from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.labeling import task_kinds
from annotate.models import Project, Prompt
from annotate.quality.measures.report import Period, today

DAYS = (7, 28, 91)
DEFAULT_DAYS = 28
EVERYTHING = "all"
EARLIEST = date(2000, 1, 1)


class PeriodForm(forms.Form):
    """`days` names a period that ends today; `first` and `last` any other. Nothing given is the usual period."""

    usual = str(DEFAULT_DAYS)

    first = forms.DateField(
        required=False, label=gettext_lazy("From"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    last = forms.DateField(
        required=False, label=gettext_lazy("To"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    days = forms.ChoiceField(required=False, choices=[(str(days), str(days)) for days in DAYS] + [(EVERYTHING, "")])
    use_case = forms.ChoiceField(required=False, label=gettext_lazy("Use case"))
    language = forms.CharField(required=False, max_length=10)
    kind = forms.ChoiceField(required=False, label=gettext_lazy("Kind"))

    def __init__(self, data: Any, *, project: Project) -> None:
        super().__init__(data)
        self.project = project
        self.fields["use_case"].choices = [("", _("Every use case")), *Prompt.UseCase.choices]  # type: ignore[attr-defined]
        self.fields["kind"].choices = [("", _("Every kind")), *task_kinds.choices()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        first, last = values.get("first"), values.get("last")
        if first and last and first > last:
            self.add_error("last", _("The period ends before it begins."))
        if first and first < EARLIEST:
            self.add_error("first", _("The period begins too long ago."))
        return values

    @property
    def period(self) -> Period:
        """What is chosen; the default where that can't be read."""
        values = self.cleaned_data if self.is_valid() else {}
        last = min(values.get("last") or today(), today())
        if first := values.get("first"):
            return Period(min(first, last), last)
        days = values.get("days") or self.usual
        return Period.everything(self.project) if days == EVERYTHING else Period.last_days(int(days))

    @property
    def part(self) -> dict[str, str]:
        """The chosen use case, language and kind."""
        values = self.cleaned_data if self.is_valid() else {}
        return {name: values.get(name, "") for name in ("use_case", "language", "kind")}

    @property
    def preset(self) -> str:
        """Which of `presets` is shown; empty for another period."""
        if not self.is_bound:
            return self.usual
        if self.is_valid() and not self.cleaned_data.get("first") and not self.cleaned_data.get("last"):
            return self.cleaned_data.get("days") or self.usual
        shown = [str(days) for days in DAYS if self.period == Period.last_days(days)]
        return shown[0] if shown else ""

    @staticmethod
    def presets() -> list[tuple[str, str]]:
        """(value of `days`, what the link says)"""
        return [*((str(days), _("%(days)d days") % {"days": days}) for days in DAYS), (EVERYTHING, _("Everything"))]


class AnalysisForm(PeriodForm):
    """As a PeriodForm, of all days first; `author`: whose win rate is shown by use case and language."""

    usual = EVERYTHING

    author = forms.CharField(required=False, max_length=20)
