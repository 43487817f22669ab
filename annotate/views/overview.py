"""A project at a glance."""

from django.http import HttpResponse
from django.shortcuts import redirect, render

from ..permissions import Capability, ProjectRequest, requires


@requires(Capability.VIEW)
def overview(request: ProjectRequest) -> HttpResponse:
    """Labelers, who judge blind, are led to their work instead."""
    if Capability.SEE_DATA not in request.capabilities:
        return redirect("annotate:work", request.project.slug)
    return render(request, "annotate/overview.html", {"project": request.project})
