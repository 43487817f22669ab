"""The page of the site's workers and of the runs that wait for them."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate.errors import Refused
from annotate.models import Project, User
from annotate.people.permissions import Capability, projects_for
from rlhf.models import TrainingRun, WorkerHeartbeat
from rlhf.runs.queues import waiting_order, workers

MOST_WAITING = 200
MOVES = {"up": -1, "down": 1}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def workers_page(request: HttpRequest) -> HttpResponse:
    """Workers and waiting runs, for people who train; a POST of an administrator drains, moves or prioritises."""
    user = request.user
    assert isinstance(user, User)  # as login_required has made sure
    projects = {project.pk: project for project in projects_for(user, Capability.TRAIN)}
    if not projects and not user.is_superuser:
        raise PermissionDenied(_("This page is for people who train models in a project."))
    refusal = None
    if request.method == "POST":
        if not user.is_superuser:
            raise PermissionDenied(_("Only administrators drain workers and order the runs of all projects."))
        try:
            _change(request, user)
        except Refused as error:
            refusal = error
        else:
            return redirect("rlhf:workers")
    if request.headers.get("HX-Target") == "workers":  # asked for every few seconds: the table alone
        return render(request, "rlhf/workers.html#workers", {"workers": _workers(projects)})
    waiting = list(waiting_order.waiting().select_related("project")[:MOST_WAITING])
    context = {
        "workers": _workers(projects),
        "waiting": _in_queues(waiting, projects),
        "queues_without_worker": sorted({run.queue for run in waiting} - workers.listening()),
        "priorities": TrainingRun.Priority.choices,
        "refusal": refusal,
    }
    return render(request, "rlhf/workers.html", context, status=refusal.status or 400 if refusal else 200)


def _change(request: HttpRequest, user: User) -> None:
    action, sent = request.POST.get("action", ""), request.POST
    if action in ("drain", "undrain"):
        workers.drain(name=sent.get("worker", "")[:200].replace("\0", ""), draining=action == "drain", by=user)
    elif action in MOVES:
        waiting_order.move(number=_number(sent.get("run", "")), by=MOVES[action], actor=user)
    elif action == "priority":
        priority = {str(value): value for value in TrainingRun.Priority.values}.get(sent.get("priority", ""), 9)
        waiting_order.set_priority(number=_number(sent.get("run", "")), priority=priority, actor=user)
    else:
        raise Refused(_("There is no such action."), status=400)


def _number(text: str) -> int:
    """-1, which is no run's, for anything that isn't a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _workers(projects: dict[int, Project]) -> list[dict[str, Any]]:
    executed = workers.executed_runs()
    return [
        {
            "row": row,
            "host": row.host.partition("/")[0],
            "state": workers.in_words(row),
            "runs": [{"run": run, "is_ones_own": run.project_id in projects} for run in executed.get(row.name, ())],
        }
        for row in WorkerHeartbeat.objects.order_by("host", "name")
    ]


def _in_queues(waiting: list[TrainingRun], projects: dict[int, Project]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for run in waiting:
        found.setdefault(run.queue, []).append({"run": run, "is_ones_own": run.project_id in projects})
    return found
