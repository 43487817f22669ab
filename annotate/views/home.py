"""The first page: one's projects and what waits in each."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..models import Assignment, Project, Task
from ..permissions import Capability, can_create_projects, projects_for


@dataclass(frozen=True, slots=True)
class Entry:
    """A project in the list. `waiting`: tasks this person could judge now, None if he doesn't label there."""

    project: Project
    waiting: int | None
    sees_data: bool


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    labels = projects_for(request.user, Capability.LABEL)
    seen = Assignment.objects.filter(task=OuterRef("pk"), labeler=request.user.pk).exclude(
        state__in=[Assignment.State.EXPIRED, *Assignment.HELD]
    )
    held = Assignment.objects.filter(task=OuterRef("pk"), labeler=request.user.pk, state__in=Assignment.HELD)
    open_tasks = Task.objects.filter(~Exists(seen), project__in=labels, state=Task.State.OPEN)
    waiting = open_tasks.filter(slots_free__gt=0) | open_tasks.filter(Exists(held))
    counts = dict(waiting.order_by().values("project").annotate(count=Count("pk")).values_list("project", "count"))
    labeled = set(labels.values_list("pk", flat=True))
    seeing = set(projects_for(request.user, Capability.SEE_DATA).values_list("pk", flat=True))
    entries = [
        Entry(project, counts.get(project.pk, 0) if project.pk in labeled else None, project.pk in seeing)
        for project in projects_for(request.user, Capability.VIEW)
    ]
    return render(
        request,
        "annotate/home.html",
        {
            "entries": [entry for entry in entries if entry.project.archived_at is None],
            "closed": [entry for entry in entries if entry.project.archived_at is not None],
            "may_create": can_create_projects(request.user),
        },
    )
