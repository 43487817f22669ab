"""The first page: what waits in each of one's projects, what one has done, and what changed since."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..models import Project, User
from ..permissions import Capability, can_create_projects, projects_for
from ..standing import Progress, Standing


@dataclass(frozen=True, slots=True)
class Entry:
    """A project in the list. `standing` is None for one who doesn't label there."""

    project: Project
    standing: Standing | None
    sees_data: bool


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # as login_required has made sure
    labels = set(projects_for(user, Capability.LABEL).values_list("pk", flat=True))
    sees = set(projects_for(user, Capability.SEE_DATA).values_list("pk", flat=True))
    entries = [
        Entry(
            project,
            Standing(labeler=user, project=project) if project.pk in labels else None,
            project.pk in sees,
        )
        for project in projects_for(user, Capability.VIEW)
    ]
    context = {
        "entries": [entry for entry in entries if entry.project.archived_at is None],
        "closed": [entry for entry in entries if entry.project.archived_at is not None],
        "progress": Progress.of(user) if labels else None,
        "may_create": can_create_projects(user),
    }
    return render(request, "annotate/home.html", context)
