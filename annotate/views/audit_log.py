"""The audit log: of a project for its managers, of the whole installation for its administrators."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate.data.keyset_pages import keyset_page
from annotate.models import Project
from annotate.people.audit import chain, event_labels, event_list
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.csv_tables import csv_stream


@require_safe
@requires(Capability.MANAGE)
def of_project(request: ProjectRequest) -> HttpResponseBase:
    """What was changed in a project, the latest first; ?format=csv is the file."""
    return _log(request, request.project, "annotate/audit/project.html")


@require_safe
@login_required
def of_installation(request: HttpRequest) -> HttpResponseBase:
    """What was changed anywhere, accounts and workers too."""
    if not request.user.is_superuser:
        raise PermissionDenied(_("Only administrators of this installation see its whole audit log."))
    return _log(request, None, "annotate/audit/installation.html")


def _log(request: HttpRequest, project: Project | None, template: str) -> HttpResponseBase:
    filters = event_list.EventFilters.of(project, request.GET)
    if request.GET.get("format") == "csv":
        return csv_stream(f"{project.slug if project else 'hone'}-audit-log", event_list.file_rows(filters))
    page = keyset_page(filters.events(), request.GET.get("after", ""))
    about = event_list.named(page.rows)
    context: dict[str, Any] = {
        "project": project,
        "filters": filters,
        "rows": [(event, event_labels.label(event.verb), event_list.details(event, about)) for event in page.rows],
        "page": page,
        "people": event_list.people(project).order_by("username"),
        "actions": event_labels.choices(),
        "head": chain.head(),
    }
    return render(request, template, context)
