"""The closed loop of a project: where it stands, its actions, and its settings."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.people import audit
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.forms.loop_forms import LoopSettingsForm, RoundsForm
from rlhf.forms.mix_form import MixForm
from rlhf.loop import loop as rounds
from rlhf.loop.rolling import rolling_page
from rlhf.loop.rounds import loop_page, step_handlers
from rlhf.models import Iteration, LoopSettings
from rlhf.runs.queues import workers

ITERATIONS_SHOWN = 30


@require_safe
@requires(Capability.TRAIN)
def loop(request: ProjectRequest) -> HttpResponse:
    form = LoopSettingsForm(instance=LoopSettings.of(request.project))
    return _page(request, form)


@require_POST
@requires(Capability.TRAIN)
def start(request: ProjectRequest) -> HttpResponse:
    form = RoundsForm(request.POST)
    try:
        if not form.is_valid():
            raise Refused(" ".join(map(str, form.errors["rounds"])))
        rounds.start(project=request.project, rounds=form.cleaned_data["rounds"], by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:loop", request.project.slug)


@require_POST
@requires(Capability.TRAIN)
def save_settings(request: ProjectRequest) -> HttpResponse:
    form = LoopSettingsForm(request.POST, instance=LoopSettings.of(request.project))
    if not form.is_valid():
        return _page(request, form, status=400)
    policy = form.save()
    audit.record(
        verb="loop.policy_changed",
        actor=request.user,
        subject=policy,
        project=request.project,
        changed=form.changed_data,
    )
    messages.success(request, _("Saved."))
    return redirect("rlhf:loop", request.project.slug)


@require_safe
@requires(Capability.TRAIN)
def mix(request: ProjectRequest) -> HttpResponse:
    """What the shares of the mix come to, while somebody types."""
    form = MixForm(request.GET, given=[], prompts=LoopSettings.of(request.project).prompts_per_round)
    return render(request, "rlhf/loop.html#mix_summary", {"mix": form, "project": request.project})


@require_POST
@requires(Capability.TRAIN)
def pause(request: ProjectRequest) -> HttpResponse:
    rounds.pause(project=request.project, by=request.user)
    return redirect("rlhf:loop", request.project.slug)


@require_POST
@requires(Capability.TRAIN)
def resume(request: ProjectRequest) -> HttpResponse:
    rounds.resume(project=request.project, by=request.user)
    return redirect("rlhf:loop", request.project.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def cancel(request: ProjectRequest, number: int) -> HttpResponse:
    """What is lost, then the cancellation."""
    iteration = access.load(request, Iteration, number=number)
    if request.method != "POST":
        return _confirmation(request, iteration, action="cancel")
    try:
        rounds.cancel(iteration=iteration, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:loop", request.project.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def skip(request: ProjectRequest, number: int) -> HttpResponse:
    """What is lost with the step, then the round without it."""
    iteration = access.load(request, Iteration, number=number)
    if request.method != "POST":
        return _confirmation(request, iteration, action="skip")
    try:
        rounds.skip(iteration=iteration, step=request.POST.get("step", ""), by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:loop", request.project.slug)


@require_POST
@requires(Capability.TRAIN)
def promote(request: ProjectRequest, number: int) -> HttpResponse:
    iteration = access.load(request, Iteration, number=number)
    try:
        rounds.promote(iteration=iteration, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:loop", request.project.slug)


def _confirmation(request: ProjectRequest, iteration: Iteration, *, action: str) -> HttpResponse:
    if iteration.state != Iteration.State.ACTIVE or (
        action == "skip" and not step_handlers.can_be_skipped(iteration.step)
    ):
        messages.error(request, _("There is nothing to cancel or skip: look at where the round stands."))
        return redirect("rlhf:loop", request.project.slug)
    context = {
        "project": request.project,
        "iteration": iteration,
        "title": loop_page.TITLES[iteration.step],
        "lost": loop_page.LOST.get(Iteration.Step(iteration.step), ""),
        "skip_label": loop_page.skip_label(iteration.step),
        "unfinished": [run for run in iteration.runs.order_by("pk") if not run.ended],
        "is_skip": action == "skip",
    }
    return render(request, "rlhf/loop_confirm.html", context)


def _page(request: ProjectRequest, form: LoopSettingsForm, *, status: int = 200) -> HttpResponse:
    page = loop_page.of(request.project)
    iterations = (
        request.project.iterations.order_by("-number")
        .prefetch_related("runs")
        .select_related("policy_version", "reward_version")
    )
    listed = Paginator(iterations, ITERATIONS_SHOWN).get_page(request.GET.get("page"))
    context = {
        "project": request.project,
        "page": page,
        "rolling": rolling_page.of(request.project),
        "rounds": [(iteration, rounds.why_ended(iteration)) for iteration in listed],
        "listed": listed,
        "active": page.iteration if page.is_active else None,
        "form": form,
        "mix": form.mix,
        "rounds_form": RoundsForm(),
        "queues_without_worker": sorted({"default"} - workers.listening()) if page.is_active else [],
    }
    is_fragment = request.headers.get("HX-Target") == "rounds"
    return render(request, "rlhf/loop.html#rounds" if is_fragment else "rlhf/loop.html", context, status=status)
