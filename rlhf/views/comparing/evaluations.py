"""Head-to-head evaluations by people: list, create, follow, cancel; and the leaderboard of a project's versions."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.models import Project, Prompt, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.csv_tables import csv_file, table_or_404
from rlhf.forms.stage_settings import SettingsForm
from rlhf.forms.version_fields import VersionsField
from rlhf.human_evaluation import evaluation_page, evaluations
from rlhf.loop.versions import policies
from rlhf.models import HumanEvaluation, Leaderboard, ModelVersion, Stage

EVALUATIONS_A_PAGE = 25


class EvaluationForm(forms.Form):
    """A new evaluation. The settings of sampling are a form of their own, `sampling`."""

    versions = VersionsField(
        queryset=ModelVersion.objects.none(),
        label=gettext_lazy("Versions"),
        help_text=gettext_lazy(
            "Two or more. Labelers see their responses side by side and don’t learn whose they are."
        ),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least two versions to compare.")},
    )
    split = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Prompts"),
        choices=[("", gettext_lazy("All prompts")), *Prompt.Split.choices],
        initial=Prompt.Split.TEST,
        help_text=gettext_lazy("Test prompts are in no training, so they show what the models learned in general."),
    )
    use_case = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Use case"),
        choices=[("", gettext_lazy("Every use case")), *Prompt.UseCase.choices],
    )
    language = forms.CharField(required=False, max_length=10, label=gettext_lazy("Language"))
    prompt_count = forms.IntegerField(
        label=gettext_lazy("Most prompts"),
        min_value=1,
        max_value=evaluations.MOST_PROMPTS,
        initial=100,
        help_text=gettext_lazy("Chosen at random. It ends earlier where the difference is plain."),
    )
    response_source = forms.ChoiceField(
        label=gettext_lazy("Responses"), choices=HumanEvaluation.Responses.choices, initial="sample"
    )
    responses_per_version = forms.IntegerField(
        required=False,
        label=gettext_lazy("Responses of each version"),
        min_value=1,
        max_value=Project.MAX_RESPONSES,
        help_text=gettext_lazy(
            "Empty: as many as make a comparison like the project’s others, so that nothing gives it away."
        ),
    )
    judgments_per_prompt = forms.IntegerField(
        label=gettext_lazy("Judgments of each prompt"),
        min_value=1,
        max_value=evaluations.MOST_JUDGMENTS,
        initial=1,
        help_text=gettext_lazy("More prompts tell more than more judgments of one prompt."),
    )
    share = forms.FloatField(
        label=gettext_lazy("Share of the tasks"),
        min_value=0.01,
        max_value=1.0,
        initial=0.2,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=gettext_lazy("Between 0 and 1: how many of a labeler’s tasks belong to the evaluation."),
    )
    alpha = forms.FloatField(
        label=gettext_lazy("Alpha"),
        min_value=0.0001,
        max_value=0.5,
        initial=0.05,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=gettext_lazy("Most probability that any difference it states is none, however often you look."),
    )
    margin = forms.FloatField(
        label=gettext_lazy("Margin"),
        min_value=0.0,
        max_value=0.49,
        initial=0.05,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=gettext_lazy("Two versions are equal when their win rate is within 0.5 ± this; 0: never stated."),
    )

    MAIN = ("split", "use_case", "language", "prompt_count", "response_source", "share")
    FURTHER = ("responses_per_version", "judgments_per_prompt", "alpha", "margin")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        generating = policies(project).order_by("-pk")
        versions: Any = self.fields["versions"]
        versions.queryset = generating
        self.initial.setdefault("versions", [version.pk for version in generating[:2]])
        self.sampling = SettingsForm(self.data if self.is_bound else None, stage=Stage.SAMPLE, prefix="sampling")

    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN]

    def further_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FURTHER]

    def is_valid(self) -> bool:
        return all([super().is_valid(), self.sampling.is_valid()])

    def start(self, *, by: User) -> HumanEvaluation:
        """Start the evaluation. Raises Refused."""
        chosen = dict(self.cleaned_data)
        # In the order in which they were made: the anchor of the ratings is the oldest.
        versions = sorted(chosen.pop("versions"), key=lambda version: version.pk)
        usual = evaluations.usual_responses(self.project, versions=len(versions))
        chosen["responses_per_version"] = chosen["responses_per_version"] or usual
        plan = evaluations.Plan(versions=versions, sampling=self.sampling.config(), **chosen)
        return evaluations.start(plan, project=self.project, by=by)


@require_safe
@requires(Capability.TRAIN)
def evaluations_list(request: ProjectRequest) -> HttpResponse:
    """The project's evaluations, the newest first."""
    found = request.project.human_evaluations.prefetch_related("evaluated__version", "evaluated__run")
    found = found.order_by("-number")
    shown = Paginator(found, EVALUATIONS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": request.project,
        "page": shown,
        "rows": [evaluation_page.EvaluationPage(evaluation) for evaluation in shown.object_list],
    }
    return render(request, "rlhf/evaluations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def new_evaluation(request: ProjectRequest) -> HttpResponse:
    form = EvaluationForm(request.POST or None, project=request.project)
    if request.method == "POST" and form.is_valid():
        try:
            evaluation = form.start(by=request.user)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            return redirect("rlhf:evaluation", request.project.slug, evaluation.number)
    is_wrong = bool(form.errors or form.sampling.errors)
    context = {"project": request.project, "form": form}
    return render(request, "rlhf/new_evaluation.html", context, status=400 if is_wrong else 200)


@require_safe
@requires(Capability.TRAIN)
def evaluation(request: ProjectRequest, evaluation_number: int) -> HttpResponse:
    """An evaluation's figures; htmx polls them while it is open."""
    found = access.load(request, HumanEvaluation, number=evaluation_number)
    is_fragment = request.headers.get("HX-Target") == "figures"
    template = "rlhf/evaluation.html#figures" if is_fragment else "rlhf/evaluation.html"
    context = {"project": request.project, "evaluation": found, "page": evaluation_page.EvaluationPage(found)}
    return render(request, template, context)


@require_safe
@requires(Capability.TRAIN)
def evaluation_table(request: ProjectRequest, evaluation_number: int, table: str) -> HttpResponse:
    """A table of the page as CSV."""
    found = access.load(request, HumanEvaluation, number=evaluation_number)
    rows = evaluation_page.EvaluationPage(found).table(table)
    return csv_file(f"{request.project.slug}-evaluation-{found.number}-{table}", table_or_404(rows))


@require_POST
@requires(Capability.TRAIN)
def cancel_evaluation(request: ProjectRequest, evaluation_number: int) -> HttpResponse:
    found = access.load(request, HumanEvaluation, number=evaluation_number)
    try:
        evaluations.cancel(found, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:evaluation", request.project.slug, evaluation_number)


@require_safe
@requires(Capability.TRAIN)
def leaderboard(request: ProjectRequest) -> HttpResponse:
    context = {"project": request.project, "page": evaluation_page.LeaderboardPage(_board(request.project))}
    return render(request, "rlhf/leaderboard.html", context)


@require_safe
@requires(Capability.TRAIN)
def leaderboard_table(request: ProjectRequest, table: str) -> HttpResponse:
    rows = evaluation_page.LeaderboardPage(_board(request.project)).table(table)
    return csv_file(f"{request.project.slug}-leaderboard-{table}", table_or_404(rows))


def _board(project: Project) -> Leaderboard:
    """As a job computed it last; empty before."""
    return Leaderboard.objects.filter(project=project).first() or Leaderboard(project=project)
