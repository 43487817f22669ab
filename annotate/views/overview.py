"""A project at a glance: what there is, who works at which pace, how far people agree."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.people.projects import overlap_warning
from annotate.quality.overview import ProjectOverview


@require_safe
@requires(Capability.VIEW)
def overview(request: ProjectRequest) -> HttpResponse:
    """The address of a project. Labelers, who judge blind, are led to their work instead of the figures."""
    if Capability.SEE_DATA not in request.capabilities:
        return redirect("annotate:work", request.project.slug)
    context = {
        "project": request.project,
        "overview": ProjectOverview(request.project),
        "overlap_warning": overlap_warning(request.project) if request.project.overlap > 1 else "",
        "may_manage": Capability.MANAGE in request.capabilities,
        "may_train": Capability.TRAIN in request.capabilities,
    }
    return render(request, "annotate/overview.html", context)
