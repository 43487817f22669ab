"""The first page: what waits in each of one's projects, what one has done, and what changed since."""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from annotate.models import Judgment, Project, Task, User
from annotate.people import notices
from annotate.people.permissions import Capability, can_create_projects, projects_for
from annotate.quality.labeler_progress import LabelerProgress, TotalProgress


@dataclass(frozen=True, slots=True)
class Figures:
    """A project's pace, for those who look after it: judgments of people, and tasks that still want one."""

    today: int
    week: int
    open_tasks: int

    @classmethod
    def of(cls, project: Project) -> "Figures":
        now = timezone.now()
        judged = Judgment.objects.filter(Judgment.COUNTED, project=project, chat_turn=None)
        since = judged.aggregate(
            today=Count("pk", filter=Q(created_at__gte=now - timedelta(hours=24))),
            week=Count("pk", filter=Q(created_at__gte=now - timedelta(days=7))),
        )
        return cls(open_tasks=Task.objects.filter(project=project, state=Task.State.OPEN).count(), **since)


@dataclass(frozen=True, slots=True)
class Entry:
    """A project in the list. `standing` is None for one who doesn't label there, `figures` for one who judges blind."""

    project: Project
    labeler_progress: LabelerProgress | None
    sees_data: bool
    notices: list[notices.Notice]
    figures: Figures | None


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
            Figures.of(project) if project.pk in sees and project.archived_at is None else None,
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
