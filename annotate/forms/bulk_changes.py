"""What a manager enters to change many judgments or tasks at once."""

from typing import Any

from django import forms
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Judgment, Project, Prompt, User
from annotate.quality.review.exclusions import LONGEST_REASON
from annotate.quality.review.reopening import MOST_JUDGMENTS, TaskFilter


class PersonChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: User) -> str:
        return obj.display_name


def _moment(**options: Any) -> forms.DateTimeField:
    """A time in the reader's zone, entered by the browser's own control."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(widget=widget, **options)


def people_who_judged(project: Project) -> Any:
    """Members or not: whoever has given a judgment here."""
    given = Judgment.objects.filter(
        Judgment.BY_LABELERS, project=project, labeler=OuterRef("pk"), is_adjudication=False
    )
    return User.objects.filter(Exists(given)).order_by("username")


class LeaveOutForm(forms.Form):
    labeler = PersonChoice(
        queryset=User.objects.none(), label=gettext_lazy("Labeler"), empty_label=gettext_lazy("Choose a labeler")
    )
    since = _moment(label=gettext_lazy("Judgments since"), help_text=gettext_lazy("Until now; later ones count."))
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=LONGEST_REASON,
        error_messages={"required": gettext_lazy("Say why: the reason stays with these judgments.")},
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Managers see it here and in the audit log."),
    )
    gives_out_again = forms.BooleanField(
        label=gettext_lazy("Give complete tasks that are then short of judgments to others"), required=False
    )

    def __init__(self, project: Project, data: Any = None) -> None:
        super().__init__(data, auto_id="leave-out-%s")
        if data is not None and "preview" in data:
            self.fields["reason"].required = False
        choice = self.fields["labeler"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = people_who_judged(project)


class ReopenForm(forms.Form):
    labeler = PersonChoice(
        queryset=User.objects.none(),
        required=False,
        label=gettext_lazy("Judged by"),
        empty_label=gettext_lazy("Anybody"),
    )
    after = _moment(required=False, label=gettext_lazy("Judged since"))
    before = _moment(required=False, label=gettext_lazy("Judged before"))
    use_case = forms.ChoiceField(
        label=gettext_lazy("Use case"), required=False, choices=[("", gettext_lazy("Any")), *Prompt.UseCase.choices]
    )
    agreement_below = forms.IntegerField(
        label=gettext_lazy("Agreement below, percent"),
        required=False,
        min_value=1,
        max_value=100,
        help_text=gettext_lazy("Of pairs, over all two labelers of the task."),
    )
    judgments = forms.IntegerField(
        label=gettext_lazy("More judgments per task"), min_value=1, max_value=MOST_JUDGMENTS, initial=1
    )

    def __init__(self, project: Project, data: Any = None) -> None:
        super().__init__(data, auto_id="reopen-%s")
        choice = self.fields["labeler"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = people_who_judged(project)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        after, before = cleaned.get("after"), cleaned.get("before")
        if after and before and after >= before:
            self.add_error("before", _("This is not after the other time, so nothing was judged in between."))
        return cleaned

    @property
    def chosen(self) -> TaskFilter:
        data = self.cleaned_data
        below = data["agreement_below"]
        return TaskFilter(
            labeler=data["labeler"].pk if data["labeler"] else None,
            after=data["after"],
            before=data["before"],
            use_case=data["use_case"],
            agreement_below=None if below is None else below / 100,
        )
