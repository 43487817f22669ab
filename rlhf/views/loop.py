"""The closed loop of a project: start and follow rounds, edit the loop settings."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.models import Judgment
from annotate.people import audit
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.forms import LoopSettingsForm, RoundsForm
from rlhf.loop import loop as rounds
from rlhf.models import Iteration, LoopSettings
from rlhf.runs.queues import workers

ITERATIONS_SHOWN = 50


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


@require_POST
@requires(Capability.TRAIN)
def cancel(request: ProjectRequest, number: int) -> HttpResponse:
    iteration = access.load(request, Iteration, number=number)
    try:
        rounds.cancel(iteration=iteration, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:loop", request.project.slug)


def _page(request: ProjectRequest, form: LoopSettingsForm, *, status: int = 200) -> HttpResponse:
    iterations = list(
        request.project.iterations.order_by("-number")
        .prefetch_related("runs")
        .select_related("policy_version", "reward_version")[:ITERATIONS_SHOWN]
    )
    active = next((iteration for iteration in iterations if iteration.state == Iteration.State.ACTIVE), None)
    context = {
        "project": request.project,
        "rounds": [(iteration, rounds.why_ended(iteration)) for iteration in iterations],
        "active": active,
        "form": form,
        "rounds_form": RoundsForm(),
        "judgments": request.project.judgments.filter(Judgment.COUNTED).count(),
        "fresh": rounds.new_judgments(request.project),
        "queues_without_worker": sorted({"default"} - workers.listening()) if active else [],
    }
    is_fragment = request.headers.get("HX-Target") == "rounds"
    return render(request, "rlhf/loop.html#rounds" if is_fragment else "rlhf/loop.html", context, status=status)
