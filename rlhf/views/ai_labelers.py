"""AI labelers of a project: list, create, prompt and settings, runs, agreement with people, and whether they count."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.models import AILabeler
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality import ai_agreement
from annotate.quality.ai_agreement import Agreement
from annotate.rendering import chart_figures
from annotate.rendering.csv_tables import csv_file
from rlhf.ai_feedback import endpoints, judge_runs, judges
from rlhf.ai_feedback.ai_labeler_forms import AILabelerForm, JudgePromptForm, JudgeRunForm, JudgeSettingsForm
from rlhf.models import AIJudge, TrainingRun
from rlhf.runs.queues import workers
from rlhf.runs.runs import training_queue

RUNS_SHOWN = 20
VERSIONS_SHOWN = 20


@require_safe
@requires(Capability.TRAIN)
def ai_labelers(request: ProjectRequest) -> HttpResponse:
    return _list(request, AILabelerForm(project=request.project))


@require_POST
@requires(Capability.MANAGE)
def create_ai_labeler(request: ProjectRequest) -> HttpResponse:
    form = AILabelerForm(request.POST, project=request.project)
    try:
        if form.is_valid():
            labeler = judges.create(project=request.project, by=request.user, **form.values())
            messages.success(
                request, _("Created. Look at its prompt, then let it judge tasks that people have judged.")
            )
            return redirect("rlhf:ai_labeler", request.project.slug, labeler.pk)
    except Refused as error:
        form.add_error(None, str(error))
    return _list(request, form, status=400)


def _list(request: ProjectRequest, form: AILabelerForm, *, status: int = 200) -> HttpResponse:
    found = request.project.ai_labelers.select_related("judge__reward_model").order_by("pk")
    context = {
        "project": request.project,
        "rows": [(labeler, _overall(labeler), judges.unfinished_run(labeler)) for labeler in found],
        "form": form,
        "may_manage": Capability.MANAGE in request.capabilities,
    }
    return render(request, "rlhf/ai_labelers.html", context, status=status)


def _overall(labeler: AILabeler) -> Agreement | None:
    return next((row for row in ai_agreement.rows(labeler) if row.use_case == ai_agreement.ALL), None)


@require_safe
@requires(Capability.TRAIN)
def ai_labeler(request: ProjectRequest, labeler_id: int) -> HttpResponse:
    return _page(request, access.load(request, AILabeler, pk=labeler_id))


@require_safe
@requires(Capability.TRAIN)
def ai_agreement_table(request: ProjectRequest, labeler_id: int) -> HttpResponse:
    """The agreement with people by use case, as a CSV file."""
    labeler = access.load(request, AILabeler, pk=labeler_id)
    return csv_file(f"{request.project.slug}-ai-labeler-{labeler.pk}", _csv_rows(labeler))


def _csv_rows(labeler: AILabeler) -> Iterator[Sequence[Any]]:
    parts = ("", "_low", "_high")
    yield ("use_case", "tasks", *(f"{name}{part}" for name in ai_agreement.MEASURES for part in parts), "passes")
    for row in ai_agreement.rows(labeler):
        shares = [getattr(row, name) for name in ai_agreement.MEASURES]
        cells = [cell for share in shares for cell in (share.rate, share.low, share.high)]
        yield (row.use_case or "all", row.tasks, *cells, int(row.passes(labeler)))


def _action(capability: Capability) -> Callable[[Any], Any]:
    """A POST on an AI labeler; what it is refused is said on the labeler's page."""

    def decorate(act: Callable[[ProjectRequest, AILabeler], HttpResponse | None]) -> Any:
        @require_POST
        @requires(capability)
        @wraps(act)
        def view(request: ProjectRequest, labeler_id: int) -> HttpResponse:
            labeler = access.load(request, AILabeler, pk=labeler_id)
            try:
                if (response := act(request, labeler)) is not None:
                    return response
            except Refused as error:
                messages.error(request, str(error))
            return redirect("rlhf:ai_labeler", request.project.slug, labeler.pk)

        return view

    return decorate


@_action(Capability.TRAIN)
def start_judge_run(request: ProjectRequest, labeler: AILabeler) -> HttpResponse | None:
    form = JudgeRunForm(request.POST)
    if not form.is_valid():
        return _page(request, labeler, judge_run_form=form, status=400)
    run = judge_runs.start(labeler, by=request.user, **form.cleaned_data)
    count = len(run.options["tasks"])
    messages.success(
        request,
        ngettext("Run %(run)d judges %(n)d task.", "Run %(run)d judges %(n)d tasks.", count)
        % {"run": run.pk, "n": count},
    )
    return None


@_action(Capability.TRAIN)
def measure_ai_labeler(request: ProjectRequest, labeler: AILabeler) -> None:
    ai_agreement.measure(labeler)
    messages.success(request, _("Measured."))


@_action(Capability.MANAGE)
def save_judge_prompt(request: ProjectRequest, labeler: AILabeler) -> HttpResponse | None:
    form = JudgePromptForm(request.POST)
    if not form.is_valid():
        return _page(request, labeler, prompt_form=form, status=400)
    if judges.save_prompt(labeler, form.texts(), by=request.user):
        messages.success(request, _("Saved as a new version, which has judged nothing yet."))
    return None


@_action(Capability.MANAGE)
def save_judge_settings(request: ProjectRequest, labeler: AILabeler) -> HttpResponse | None:
    form = JudgeSettingsForm(request.POST, labeler=labeler)
    if not form.is_valid():
        return _page(request, labeler, settings_form=form, status=400)
    judges.save_settings(labeler, by=request.user, **form.values())
    messages.success(request, _("Saved."))
    return None


@_action(Capability.MANAGE)
def count_ai_labeler(request: ProjectRequest, labeler: AILabeler) -> None:
    if request.POST.get("count") == "1":
        counted = ai_agreement.count(labeler, by=request.user)
        count = len(counted.counted_use_cases)
        messages.success(
            request,
            ngettext(
                "New snapshots have its judgments of %(n)d use case.",
                "New snapshots have its judgments of %(n)d use cases.",
                count,
            )
            % {"n": count},
        )
    else:
        ai_agreement.stop_counting(labeler, by=request.user)
        messages.success(request, _("New snapshots leave its judgments out."))


def _page(
    request: ProjectRequest,
    labeler: AILabeler,
    *,
    prompt_form: JudgePromptForm | None = None,
    settings_form: JudgeSettingsForm | None = None,
    judge_run_form: JudgeRunForm | None = None,
    status: int = 200,
) -> HttpResponse:
    judge: AIJudge = labeler.judge
    prompt = judges.current_prompt(judge)
    rows = ai_agreement.rows(labeler)
    runs = list(judges.runs_of(labeler).select_related("created_by")[:RUNS_SHOWN])
    unfinished = next((run for run in runs if not run.ended), None)
    queue = training_queue()
    context = {
        "project": request.project,
        "labeler": labeler,
        "judge": judge,
        "endpoint": endpoints.known().get(judge.endpoint),
        "prompt": prompt,
        "versions": judge.prompts.select_related("created_by").order_by("-version")[:VERSIONS_SHOWN],
        "rows": [
            {
                "measures": row,
                "strip": chart_figures.strip(row.agreement.rate, row.agreement.low, row.agreement.high),
                "passes": row.passes(labeler),
                "is_counted": labeler.is_counted and row.use_case in labeler.counted_use_cases,
            }
            for row in rows
        ],
        "any_passes": any(row.use_case and row.passes(labeler) for row in rows),
        "judgments": labeler.judgments.filter(latest__isnull=False).count(),
        "spent": judge_runs.spent(labeler),
        "runs": runs,
        "unfinished": unfinished,
        "paused": next((run for run in runs[:1] if run.status in _RESUMABLE), None),
        "queues_without_worker": sorted({queue} - workers.listening()) if unfinished else [],
        "prompt_form": prompt_form or (JudgePromptForm.of(prompt) if prompt else None),
        "settings_form": settings_form or JudgeSettingsForm(labeler=labeler),
        "judge_run_form": judge_run_form or JudgeRunForm(),
        "may_manage": Capability.MANAGE in request.capabilities,
    }
    return render(request, "rlhf/ai_labeler.html", context, status=status)


_RESUMABLE = (TrainingRun.Status.FAILED, TrainingRun.Status.CANCELLED)
