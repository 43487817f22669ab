"""Labeling order: active learning by the disagreement of the reward ensemble."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.loop import active_learning, versions
from rlhf.models import LoopSettings, Stage


@require_safe
@requires(Capability.TRAIN)
def order(request: ProjectRequest) -> HttpResponse:
    """Counts of ordered, random and unscored comparisons, and the next ordered ones."""
    project = request.project
    reward = versions.active_reward(project)
    context = {
        "project": project,
        "queue_summary": active_learning.queue_summary(project),
        "policy": LoopSettings.of(project),
        "reward": reward,
        "other_seeds": versions.other_seeds(reward) if reward is not None else [],
        "can_disagree": reward is not None and active_learning.can_disagree(reward),
        "last": project.training_runs.filter(stage=Stage.SCORE).order_by("-pk").first(),
    }
    return render(request, "rlhf/active_learning.html", context)


@require_POST
@requires(Capability.TRAIN)
def score(request: ProjectRequest) -> HttpResponse:
    try:
        run = active_learning.start(project=request.project, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:active_learning", request.project.slug)
    messages.success(request, _("The reward model is scoring comparisons."))
    return redirect("rlhf:run", request.project.slug, run.pk)
