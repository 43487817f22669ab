"""Hidden checks on a manager's page: gold tasks, the calibration set, and what followed from thresholds."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.labeling.checks import calibration, gold, thresholds
from annotate.models import Judgment, QualityAlert, Task, TaskConsensus
from annotate.people.permissions import Capability, ProjectRequest, requires

PAGE = 25
MOST_LISTED = 25
MOST_LOOKED_AT = 500
LATEST_ALERTS = 25
FEWEST_JUDGMENTS = 2
"""Of a task whose consensus is offered as a known order."""


@require_safe
@requires(Capability.MANAGE)
def quality_checks(request: ProjectRequest) -> HttpResponse:
    """The page; ?before= a number goes on with older gold tasks."""
    project = request.project
    before = request.GET.get("before", "")
    golds = gold.tasks_of(project).select_related("prompt", "project")
    if (last := row_number(before)) is not None:
        golds = golds.filter(pk__lt=last)
    shown = list(golds[: PAGE + 1])
    context: dict[str, Any] = {
        "project": project,
        "golds": gold.listed(shown[:PAGE]),
        "more_before": shown[PAGE - 1].pk if len(shown) > PAGE else None,
        "paged": bool(before),
        "calibration": calibration.tasks_of(project).select_related("prompt"),
        "candidates": _candidates(request),
        "alerts": thresholds.listed(project, most=LATEST_ALERTS),
        "is_on": project.gold_rate > 0,
    }
    return render(request, "annotate/quality_checks.html", context)


@require_POST
@requires(Capability.MANAGE)
def task(request: ProjectRequest, task_id: int) -> HttpResponse:
    """Make a comparison a gold task, by its known order, one's own judgment or its consensus (`order`), put it into the
    calibration set (`calibrate`), or put it back into the queue (`remove`)."""
    found = access.load(request, Task, pk=task_id)
    try:
        if "remove" in request.POST:
            (calibration if found.state == Task.State.CALIBRATION else gold).remove(task=found, by=request.user)
            done = _("Taken out: it is an ordinary task again.")
        elif "calibrate" in request.POST:
            calibration.add(task=found, by=request.user)
            done = _("Every labeler will judge it once.")
        else:
            gold.promote(task=found, tiers=_order(request, found), by=request.user)
            done = _("It is a gold task now.")
    except Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, done)
    return redirect("annotate:quality_checks", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def undo(request: ProjectRequest, alert_id: int) -> HttpResponse:
    """Take back a warning, a pause or a requalification."""
    thresholds.undo(alert=access.load(request, QualityAlert, pk=alert_id), by=request.user)
    messages.success(request, _("Undone. The labeler's next checks are counted anew."))
    return redirect("annotate:quality_checks", request.project.slug)


@require_POST
@requires(Capability.LABEL)
def read(request: ProjectRequest) -> HttpResponse:
    """The labeler has read their warnings."""
    thresholds.close(labeler=request.user, project=request.project)
    return redirect("annotate:work", request.project.slug)


def _order(request: ProjectRequest, found: Task) -> Any:
    """The order that the button named; None for the one that the task has."""
    source = request.POST.get("order", "")
    if source == "judgment":
        own = Judgment.objects.filter(Judgment.COUNTED, task=found, labeler=request.user).select_related("latest")
        judgment = own.first()
        return judgment.latest.tiers if judgment is not None and judgment.latest is not None else []
    if source == "consensus":
        return TaskConsensus.objects.filter(task=found).values_list("tiers", flat=True).first() or []
    return None


def _candidates(request: ProjectRequest) -> list[tuple[Task, str]]:
    """(comparison, where its order is from) that can become gold tasks: a few of each source, the surest first."""
    project = request.project
    usable = Task.objects.filter(
        project=project, kind=Task.Kind.COMPARE, state__in=[Task.State.OPEN, Task.State.COMPLETE]
    ).select_related("prompt")
    known = usable.filter(gold_tiers__isnull=False).order_by("-pk")[:MOST_LISTED]
    own = Judgment.objects.filter(Judgment.COUNTED, labeler=request.user, project=project, chat_turn=None)
    own = own.filter(task__kind=Task.Kind.COMPARE).order_by("-created_at")
    # Cut before it is filtered: where a task has one judgment, the index would be read to its end.
    surest = TaskConsensus.objects.filter(project=project).order_by("-confidence").values_list("task", "judgments")
    sources = {
        "judgment": list(own.values_list("task", flat=True)[:MOST_LISTED]),
        "consensus": [task for task, given in surest[:MOST_LOOKED_AT] if given >= FEWEST_JUDGMENTS][:MOST_LISTED],
    }
    found: dict[int, tuple[Task, str]] = {item.pk: (item, "known") for item in known}
    for source, keys in sources.items():
        for item in usable.filter(pk__in=keys, gold_tiers__isnull=True).order_by("-pk"):
            found.setdefault(item.pk, (item, source))
    return list(found.values())
