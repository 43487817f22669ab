"""Forms of managers: new tasks, the kinds of task that labelers get, the exam."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.labeling import requested_tasks, task_kinds
from annotate.labeling.requested_tasks import LONGEST_INSTRUCTIONS, MOST_AT_ONCE, MOST_JUDGMENTS
from annotate.models import Project, Prompt

ANY = [("", _("Any"))]


class NewTasksForm(forms.Form):
    kind = forms.ChoiceField(label=_("Kind of task"), choices=requested_tasks.kind_choices)
    count = forms.IntegerField(label=_("How many tasks"), min_value=1, max_value=MOST_AT_ONCE, initial=20)
    judgments = forms.IntegerField(
        label=_("Labelers per task"),
        min_value=1,
        max_value=MOST_JUDGMENTS,
        initial=1,
        help_text=_("How many people do the same task, each on their own."),
    )
    prompt_kind = forms.ChoiceField(label=_("Kind of prompt"), required=False, choices=[*ANY, *Prompt.Kind.choices])
    use_case = forms.ChoiceField(label=_("Use case"), required=False, choices=[*ANY, *Prompt.UseCase.choices])
    split = forms.ChoiceField(
        label=_("Split"),
        required=False,
        choices=[*ANY, *Prompt.Split.choices],
        help_text=_("A new prompt is assigned to a split by its content."),
    )
    instructions = forms.CharField(
        label=_("Additional instructions"),
        required=False,
        max_length=LONGEST_INSTRUCTIONS,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Shown above the task, such as the product that a user-based prompt is for. Markdown."),
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of requested_tasks.add."""
        data = self.cleaned_data
        filters = {"kind": data["prompt_kind"], "use_case": data["use_case"], "split": data["split"]}
        plain = {name: data[name] for name in ("kind", "count", "judgments", "instructions")}
        return plain | {"filters": filters}


class KindsForm(forms.Form):
    task_kinds = forms.MultipleChoiceField(
        label=_("Labelers get"),
        choices=task_kinds.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Leave at least one kind on.")},
    )


class ExamForm(forms.Form):
    threshold = forms.IntegerField(
        label=_("To pass, percent of pairs"),
        required=False,
        min_value=0,
        max_value=100,
        help_text=_("Of the pairs that the known orderings decide. Empty: no exam, everybody gets live work."),
    )
    attempts = forms.IntegerField(label=_("Attempts"), min_value=1, max_value=20)

    @classmethod
    def of(cls, project: Project, data: Any = None) -> "ExamForm":
        share = project.exam_threshold
        percent = None if share is None else round(100 * share)
        return cls(data, initial={"threshold": percent, "attempts": project.exam_attempts})

    @property
    def changes(self) -> dict[str, Any]:
        """Arguments of edit_project."""
        percent = self.cleaned_data["threshold"]
        threshold = None if percent is None else percent / 100
        return {"exam_threshold": threshold, "exam_attempts": self.cleaned_data["attempts"]}
