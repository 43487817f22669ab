"""What waits for review, the least certain first, and what reviewers have decided."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.data.keyset_pages import keyset_page
from annotate.errors import Refused
from annotate.labeling import judged_texts
from annotate.labeling.checks import gold
from annotate.models import Assignment, Judgment, TaskConsensus
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.review import adjudication

MOST_COUNTED = 1_000
"""The number of tasks that wait is counted no further."""


@require_safe
@never_cache
@requires(Capability.REVIEW)
def waiting(request: ProjectRequest) -> HttpResponse:
    """Tasks that wait for a reviewer. Nothing here says what their labelers say: the board may be blind."""
    found = adjudication.waiting(request.project)
    count = found.order_by()[: MOST_COUNTED + 1].count()
    after = request.GET.get("after", "")
    page = keyset_page(found.select_related("task__prompt", "reviewer"), after, order=("certainty", "pk"))
    judged = set(
        Assignment.objects.filter(
            task__in=[row.task_id for row in page.rows], labeler=request.user, is_adjudication=False
        )
        .exclude(state=Assignment.State.EXPIRED)
        .values_list("task", flat=True)
    )
    now = timezone.now()
    context = {
        "project": request.project,
        "part": "waiting",
        "may_manage": Capability.MANAGE in request.capabilities,
        "rows": [
            {
                "consensus": row,
                "judged": row.task_id in judged,
                "reviewer": row.reviewer if row.review_until and row.review_until >= now else None,
            }
            for row in page.rows
        ],
        "count": min(count, MOST_COUNTED),
        "more": count > MOST_COUNTED,
        "page": page,
    }
    return render(request, "annotate/review/queue.html", context)


@require_safe
@never_cache
@requires(Capability.REVIEW)
def decided(request: ProjectRequest) -> HttpResponse:
    """Adjudications, the latest first."""
    found = adjudication.adjudicated(request.project)
    page = keyset_page(
        found.select_related("task__prompt", "latest", "labeler", "assignment"), request.GET.get("after", "")
    )
    context: dict[str, Any] = {
        "project": request.project,
        "part": "decided",
        "may_manage": Capability.MANAGE in request.capabilities,
        "rows": [(judgment, judged_texts.line(judgment)) for judgment in page.rows],
        "page": page,
    }
    return render(request, "annotate/review/decided.html", context)


@require_POST
@requires(Capability.REVIEW)
def take(request: ProjectRequest, reviewed_task_id: int) -> HttpResponse:
    """A certain task, on the board; where the reviewer may not have it, why, and the next one in its place."""
    row = access.load(request, TaskConsensus, task=reviewed_task_id)
    try:
        assignment = adjudication.claim(task=row.task, reviewer=request.user)
    except Refused as refusal:
        messages.warning(request, str(refusal))
        return redirect("annotate:review_queue", request.project.slug)
    return redirect("annotate:adjudication", request.project.slug, assignment.pk)


@require_POST
@requires(Capability.REVIEW)
def set_aside(request: ProjectRequest, judgment_id: int) -> HttpResponse:
    """Have an adjudication count no more."""
    judgment = access.load(request, Judgment, pk=judgment_id)
    try:
        adjudication.set_aside(judgment=judgment, by=request.user)
    except Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(
            request, _("Set aside: the labelers' own consensus counts, and the task waits for review again.")
        )
    return redirect("annotate:review_decided", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def use_as_gold(request: ProjectRequest, judgment_id: int) -> HttpResponse:
    """Make an adjudicated task a gold task, by the adjudicated order."""
    judgment = access.load(request, Judgment, pk=judgment_id)
    if not judgment.is_adjudication or judgment.surplus or judgment.latest is None:
        messages.error(request, _("Only an order that a reviewer adjudicated makes a gold task."))
    else:
        try:
            gold.promote(task=judgment.task, tiers=judgment.latest.tiers, by=request.user)
        except Refused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, _("This is a gold task now: labelers get it among the others, untold."))
    return redirect("annotate:review_judgment", request.project.slug, judgment.pk)
