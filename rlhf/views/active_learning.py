"""What comes to labelers next, and why."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.loop import active_learning, loop, versions
from rlhf.models import Stage


@require_safe
@requires(Capability.TRAIN)
def choices(request: ProjectRequest) -> HttpResponse:
    """How many comparisons were put in order, how many stay at random, and the first ones with their reason."""
    project = request.project
    reward = versions.active_reward(project)
    context = {
        "project": project,
        "outlook": active_learning.outlook(project),
        "policy": loop.policy_of(project),
        "reward": reward,
        "siblings": versions.siblings(reward) if reward is not None else [],
        "can_disagree": reward is not None and active_learning.can_disagree(reward),
        "last": project.training_runs.filter(stage=Stage.SCORE).order_by("-pk").first(),
    }
    return render(request, "rlhf/choices.html", context)


@require_POST
@requires(Capability.TRAIN)
def choose(request: ProjectRequest) -> HttpResponse:
    try:
        run = active_learning.start(project=request.project, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:choices", request.project.slug)
    messages.success(request, _("The reward model is being asked."))
    return redirect("rlhf:run", request.project.slug, run.pk)
