"""Start, follow and cancel runs."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.forms import RunForm
from rlhf.models import Stage, TrainingRun
from rlhf.reports import curves, labels, stop_reasons, stored
from rlhf.reports.page import verdict_of
from rlhf.reports.sample_comparison import compare_samples
from rlhf.runs import runs
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.live_responses import live
from rlhf.runs.queues import workers
from rlhf.runs.stages.registry import LAUNCHABLE

RUNS_A_PAGE = 25


@require_safe
@requires(Capability.TRAIN)
def training(request: ProjectRequest) -> HttpResponse:
    """The project's runs, newest first, and the stages to start. Runs of live chats are listed apart."""
    shows_live = request.GET.get("show") == live.QUEUE
    found = request.project.training_runs.select_related("produced", "iteration").prefetch_related(
        "run_inputs__version"
    )
    found = found.filter(queue=live.QUEUE) if shows_live else found.exclude(queue=live.QUEUE)
    page = Paginator(found, RUNS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": request.project,
        "page": page,
        "stages": LAUNCHABLE,
        "queues_without_worker": _queues_without_worker(page.object_list),
        "going": any(not run.ended for run in page.object_list),
        "shows_live": shows_live,
        "live_turns": request.project.training_runs.filter(queue=live.QUEUE).count(),
    }
    return render(request, _fragment(request, "rlhf/training.html", "runs"), context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def new_run(request: ProjectRequest, stage: str) -> HttpResponse:
    """A form of the stage's inputs and settings."""
    if stage not in LAUNCHABLE:
        raise Http404(_("There is no such stage."))
    form = RunForm(request.POST or None, project=request.project, stage=stage)
    if request.method == "POST" and form.is_valid():
        try:
            first, *others = form.start(by=request.user)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            if others:
                return redirect("rlhf:training", request.project.slug)
            return redirect("rlhf:run", request.project.slug, first.pk)
    context = {"project": request.project, "form": form, "stage": stage, "title": LAUNCHABLE[stage].title}
    return render(request, "rlhf/new_run.html", context, status=400 if form.errors else 200)


@require_safe
@requires(Capability.TRAIN)
def run(request: ProjectRequest, run_id: int) -> HttpResponse:
    """A run's page; htmx polls its live part while it runs."""
    found = access.load(request, TrainingRun, pk=run_id)
    context = {
        "project": request.project,
        "run": found,
        "latest": curves.latest(found),
        "queues_without_worker": _queues_without_worker([found]),
        "numbers": curves.numbers(found.result),
        "given": [(labels.of_name(name), value) for name, value in (found.config | found.options).items()],
        "notes": found.result.get("notes", []),
        "stopped": stop_reasons.sentence(found),
        "verdict": verdict_of(report) if (report := stored.load(found)) else None,
    }
    template = _fragment(request, "rlhf/run.html", "live")
    if template == "rlhf/run.html":
        context |= {"samples": compare_samples(found), "has_plot": RunFiles(found).reward_kl_plot.is_file()}
    return render(request, template, context)


@require_safe
@requires(Capability.TRAIN)
def metrics(request: ProjectRequest, run_id: int) -> JsonResponse:
    """{"series": {name: [[step, ...], [value, ...]]}, "words": {name: words}, "reward_kl": ..., "ended": bool}.

    For the curves; see `curves.reward_kl_curve` for that of PPO.
    """
    found = access.load(request, TrainingRun, pk=run_id)
    series = curves.series(found)
    words = {name: labels.in_words(name) for name in series}
    drawn = {}
    if found.stage == Stage.PPO:
        drawn = {"reward_kl": curves.reward_kl_curve(series)}
        words |= {
            "reward_kl": _("Score over √KL"),
            "iterations": _("during training"),
            "held_out": _("held-out prompts"),
        }
    return JsonResponse({"series": series, "words": words, "ended": found.ended, **drawn})


@require_safe
@requires(Capability.TRAIN)
def reward_kl_plot(request: ProjectRequest, run_id: int) -> FileResponse:
    """reward_kl.svg as a download."""
    path = RunFiles(access.load(request, TrainingRun, pk=run_id)).reward_kl_plot
    try:
        file = path.open("rb")
    except OSError:
        raise Http404(_("This run has no such plot.")) from None
    return FileResponse(file, as_attachment=True, filename=f"reward-kl-run-{run_id}.svg", content_type="image/svg+xml")


@require_POST
@requires(Capability.TRAIN)
def cancel(request: ProjectRequest, run_id: int) -> HttpResponse:
    found = access.load(request, TrainingRun, pk=run_id)
    try:
        runs.request_cancel(run=found, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:run", request.project.slug, run_id)


def _queues_without_worker(found: Any) -> list[str]:
    """Queues of waiting runs that no worker consumes."""
    waiting = {run.queue for run in found if run.status == TrainingRun.Status.QUEUED}
    return sorted(waiting - workers.listening()) if waiting else []


def _fragment(request: HttpRequest, template: str, name: str) -> str:
    """The page, or the partial that htmx requested."""
    return f"{template}#{name}" if request.headers.get("HX-Target") == name else template
