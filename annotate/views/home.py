"""The first page: what waits in each of one's projects, what one has done, and what changed since."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Project, User
from annotate.people import notices
from annotate.people.permissions import Capability, can_create_projects, projects_for
from annotate.quality.dashboard import Dashboard
from annotate.quality.labeler_progress import LabelerProgress, TotalProgress


@dataclass(frozen=True, slots=True)
class Entry:
    """A project in the list. `labeler_progress` is None for one who doesn't label there, `dashboard` for
    one who judges blind."""

    project: Project
    labeler_progress: LabelerProgress | None
    sees_data: bool
    notices: list[notices.Notice]
    dashboard: Dashboard | None


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # as login_required has made sure
    labels = set(projects_for(user, Capability.LABEL).values_list("pk", flat=True))
    sees = set(projects_for(user, Capability.SEE_DATA).values_list("pk", flat=True))
    found = notices.of(user)
    entries = [
        Entry(
            project,
            LabelerProgress(labeler=user, project=project) if project.pk in labels else None,
            project.pk in sees,
            [notice for notice in found if notice.project.pk == project.pk and notice.is_new(user.notices_seen_at)],
            Dashboard(project) if project.pk in sees and project.archived_at is None else None,
        )
        for project in projects_for(user, Capability.VIEW)
    ]
    progress = TotalProgress.of(user) if labels else None
    context = {
        "entries": [entry for entry in entries if entry.project.archived_at is None],
        "closed": [entry for entry in entries if entry.project.archived_at is not None],
        "progress": progress,
        # A manager who labels nothing finds no encouragement to label more.
        "progress_shown": progress is not None and (progress.total > 0 or not sees),
        "may_create": can_create_projects(user),
        "manages": projects_for(user, Capability.MANAGE).filter(archived_at=None).exists(),
    }
    return render(request, "annotate/home.html", context)
