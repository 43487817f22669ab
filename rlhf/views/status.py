"""A notice on every page while the base model is being downloaded."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from models_core.contract import catalogue


@require_safe
@never_cache
@login_required
def base_model(request: HttpRequest) -> HttpResponse:
    """Download progress, polled by htmx; empty once the model is there."""
    name = settings.HONE_BASE_MODEL
    if name not in catalogue.MODELS:
        return HttpResponse()
    status = catalogue.status(name, settings.HONE_DATA / "models")
    percent = 100 * status.done // status.total if status.total else None
    is_coming = status.state in ("downloading", "converting")
    return render(request, "rlhf/model_status.html", {"status": status, "percent": percent, "is_coming": is_coming})
