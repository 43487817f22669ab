"""The models of a project: which there are, which is in use, and let it write."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.permissions import Capability, ProjectRequest, requires

from .. import curves, sampling, versions
from ..forms import SampleForm
from ..models import ModelVersion
from ..reports import stored


@require_safe
@requires(Capability.TRAIN)
def models(request: ProjectRequest) -> HttpResponse:
    project = request.project
    versions.base(project)
    found = project.model_versions.select_related("run", "promoted_by").prefetch_related("parents")
    rows = [
        {
            "version": version,
            "numbers": curves.headline(version.metrics),
            "before": versions.previous(version) if version.active else None,
            "report": version.run if hasattr(version, "run") and stored.exists(version.run) else None,
        }
        for version in found
    ]
    context = {
        "project": project,
        "rows": rows,
        "policy": versions.active_policy(project),
        "form": SampleForm(initial={"prompts": sampling.DEFAULT_PROMPTS, "samples": project.responses_per_task}),
    }
    return render(request, "rlhf/models.html", context)


@require_POST
@requires(Capability.TRAIN)
def promote(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    versions.promote(version, by=request.user)
    messages.success(request, _("%(version)s is in use now.") % {"version": version.label})
    return redirect("rlhf:models", request.project.slug)


@require_POST
@requires(Capability.TRAIN)
def roll_back(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    try:
        before = versions.roll_back(version, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(before)s is in use again.") % {"before": before.label})
    return redirect("rlhf:models", request.project.slug)


@require_POST
@requires(Capability.TRAIN)
def sample(request: ProjectRequest) -> HttpResponse:
    """Let the active policy answer the next prompts."""
    form = SampleForm(request.POST)
    if not form.is_valid():
        messages.error(
            request,
            " ".join(f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()),
        )
        return redirect("rlhf:models", request.project.slug)
    chosen = form.cleaned_data
    try:
        run = sampling.start(
            project=request.project, by=request.user, prompt_count=chosen["prompts"], samples=chosen["samples"]
        )
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:models", request.project.slug)
    return redirect("rlhf:run", request.project.slug, run.pk)
