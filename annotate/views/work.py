"""Work: the next task, and what becomes of it. Each answer to a deed already holds the task that comes after it."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import retarget

from .. import queue
from ..errors import Refused
from ..forms import board
from ..models import Assignment, Judgment
from ..permissions import Capability, ProjectRequest, requires


@require_safe
@never_cache
@requires(Capability.LABEL)
def work(request: ProjectRequest) -> HttpResponse:
    """The labeler's current task. Asking again shows the same one."""
    return _next(request)


@require_POST
@requires(Capability.LABEL)
def submit(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    _ensure_here(request, assignment_id)
    try:
        receipt = queue.submit(
            assignment_id=assignment_id, labeler=request.user, submission=board.submission(_entered(request))
        )
    except Refused as refusal:
        return _refused(request, assignment_id, refusal)
    if receipt.repeated:
        note = "This had been submitted already; the first judgment counts."
    elif receipt.surplus:
        note = "Saved. Your time for this task had run out and others have judged it: yours is kept beside theirs."
    else:
        note = "Saved."
    return _next(request, note=note)


@require_POST
@requires(Capability.LABEL)
def skip(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    _ensure_here(request, assignment_id)
    try:
        queue.skip(assignment_id=assignment_id, labeler=request.user, reason=board.skip_reason(_entered(request)))
    except Refused as refusal:
        return _refused(request, assignment_id, refusal)
    return _next(request, note="Skipped.")


@require_POST
@requires(Capability.LABEL)
def draft(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Keep what was entered so far. Answers with the words for the page's corner."""
    _ensure_here(request, assignment_id)
    try:
        kept = queue.save_draft(
            assignment_id=assignment_id, labeler=request.user, draft=board.draft(_entered(request))
        ).kept
    except Refused as refusal:
        return HttpResponse(f"Draft not saved: {refusal}", status=refusal.status, content_type="text/plain")
    return HttpResponse("Draft saved" if kept else "This task is over; submit still works", content_type="text/plain")


def _entered(request: HttpRequest) -> board.Entered:
    return dict(request.POST.lists())


def _ensure_here(request: ProjectRequest, assignment_id: int) -> None:
    """The permission was checked for the project in the address, so the assignment has to be one of it."""
    if not Assignment.objects.filter(pk=assignment_id, project=request.project).exists():
        raise Http404("There is no such task in this project.")


def _next(request: ProjectRequest, *, note: str = "") -> HttpResponse:
    """The next task: a fragment to htmx, else a page (after a deed by redirection, so a reload repeats nothing)."""
    if request.method == "POST" and not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, note)
        return redirect("annotate:work", request.project.slug)
    assignment = queue.claim_next(labeler=request.user, project=request.project)
    return _show(request, board.Board(assignment) if assignment else None, note=note)


def _show(request: ProjectRequest, shown: board.Board | None, *, status: int = 200, **context: Any) -> HttpResponse:
    yesterday = timezone.now() - timedelta(hours=24)
    context |= {
        "project": request.project,
        "board": shown,
        "guidelines": request.project.guidelines,
        "judged_lately": Judgment.objects.filter(
            labeler=request.user, project=request.project, created_at__gte=yesterday
        ).count(),
        "may_manage": Capability.MANAGE in request.capabilities,
    }
    template = "annotate/work.html#work" if request.htmx else "annotate/work.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


def _refused(request: ProjectRequest, assignment_id: int, refusal: Refused) -> HttpResponse:
    """Say why, and keep what was entered: htmx leaves the board alone, a plain form gets it back filled in."""
    if request.htmx:  # type: ignore[attr-defined]
        answer = HttpResponse(str(refusal), status=refusal.status, content_type="text/plain")
        # As text: the sentence may quote what was sent.
        answer["HX-Reswap"] = "textContent"
        return retarget(answer, "#refusal")
    own = (
        Assignment.objects.select_related("task__prompt", "project")
        .filter(pk=assignment_id, labeler=request.user)
        .first()
    )
    if own is None:
        return render(request, "403.html", {"exception": str(refusal)}, status=refusal.status)
    return _show(request, board.Board(own, entered=_entered(request)), status=refusal.status, refusal=str(refusal))
