"""Adjudication: a task on the board of labeling, with what its labelers say beside it where the project shows that.

The scripts of the work page run here too, so drafts, keys, undo and the outbox are the same. What the labelers say is
in the page only when it is shown: the project shows it always, never, or when the reviewer asks for it.
"""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.forms.task_forms import FormData, skip_reason
from annotate.labeling import task_kinds
from annotate.models import Adjudication, Assignment, Judgment, TaskConsensus
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.review import adjudication
from annotate.views.work import responses
from annotate.views.work.actions import draft_numbers, kept_draft

PAGE = "annotate/review/board.html"
ORDERS = "annotate/review/orders.html"


@require_safe
@never_cache
@requires(Capability.REVIEW)
def following(request: ProjectRequest) -> HttpResponse:
    """What the reviewer has at hand, else the next of the queue."""
    before = None
    if (done := row_number(request.GET.get("done", ""))) is not None:
        own = Adjudication.objects.filter(labeler=request.user, project=request.project, is_adjudication=True)
        before = own.filter(pk=done).select_related("project").first()
    return _show_next(request, done=before)


@require_safe
@never_cache
@requires(Capability.REVIEW)
def board(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    """An adjudication of one's own, to go on with or to revise."""
    assignment = access.load(request, Adjudication, pk=adjudication_id)
    return _show_again(request, assignment, responses.fields_to_revise(assignment))


@require_safe
@never_cache
@requires(Capability.REVIEW)
def orders(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    """What the labelers say: in the place of the button that asked for it, or beside the board."""
    assignment = access.load(request, Adjudication, pk=adjudication_id)
    if request.project.adjudication_view == adjudication.View.BLIND:
        return HttpResponse(
            _("This project hides the labelers' orders from reviewers who decide."),
            status=403,
            content_type="text/plain; charset=utf-8",
        )
    if not request.htmx:  # type: ignore[attr-defined]
        board_url = reverse("annotate:adjudication", args=[request.project.slug, adjudication_id])
        return redirect(f"{board_url}?orders=shown")
    return render(request, ORDERS, {"project": request.project, **_beside(request, assignment, asked=True)})


@require_POST
@requires(Capability.REVIEW)
def submit(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    assignment = access.load(request, Adjudication, pk=adjudication_id)
    try:
        form = task_kinds.form_class(assignment)
        submission = form.submission(responses.form_data(request, assignment, strict=True))
        receipt = adjudication.submit(assignment_id=assignment.pk, reviewer=request.user, submission=submission)
    except Refused as refusal:
        return _refused(request, assignment, refusal)
    if receipt.repeated:
        note = _("This had been submitted already; the first one counts.")
    elif receipt.surplus:
        note = _("Saved. Another reviewer had decided this task by then: theirs counts, and yours is kept beside it.")
    elif receipt.revised:
        note = _("Saved as a revision of what you decided before.")
    else:
        note = _("Decided: this order counts from now on.")
    return _show_next(request, done=assignment, note=note, warn=receipt.surplus, undo=not receipt.revised)


@require_POST
@requires(Capability.REVIEW)
def undo(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    """Take back what was decided or skipped a moment ago. The task is on the board again as it was."""
    assignment: Assignment = access.load(request, Adjudication, pk=adjudication_id)
    was_skipped = assignment.state == Assignment.State.SKIPPED
    try:
        assignment = adjudication.undo(assignment, reviewer=request.user)
    except Refused as refusal:
        return _refused(request, assignment, refusal)
    note = _("The task that you skipped is back.") if was_skipped else _("Taken back: it waits for your order again.")
    if not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, note)
        return redirect("annotate:adjudication", request.project.slug, assignment.pk)
    reply = _show(request, assignment, task_kinds.form_of(assignment), part="receipt_and_task", note=note)
    reply[responses.TASK_HEADER] = str(assignment.pk)
    return reply


@require_POST
@requires(Capability.REVIEW)
def skip(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    """Leave the task to another reviewer."""
    assignment = access.load(request, Adjudication, pk=adjudication_id)
    reason = skip_reason(responses.form_data(request, assignment))
    try:
        adjudication.skip(assignment_id=assignment.pk, reviewer=request.user, reason=reason)
    except Refused as refusal:
        return _refused(request, assignment, refusal)
    return _show_next(request, done=assignment, note=_("Skipped: another reviewer gets it."), undo=True)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.REVIEW)
def draft(request: ProjectRequest, adjudication_id: int) -> HttpResponse:
    """Keep what was entered so far; asked for, say what is kept."""
    assignment = access.load(request, Adjudication, pk=adjudication_id)
    if request.method != "POST":
        return JsonResponse(kept_draft(assignment))
    try:
        receipt = adjudication.keep_draft(
            assignment=assignment,
            draft=task_kinds.form_class(assignment).draft(responses.form_data(request, assignment)),
            **draft_numbers(request),
        )
    except Refused as refusal:
        return JsonResponse({"error": str(refusal)}, status=refusal.status)
    return responses.draft_reply(receipt, task_kinds.response_keys(assignment), request.project)


# ---- how it is shown ---------------------------------------------------------------------------------------------


def _show_next(
    request: ProjectRequest, *, done: Assignment | None = None, note: str = "", warn: bool = False, undo: bool = False
) -> HttpResponse:
    """After an action, or at the beginning. To a browser without scripts after an action by redirection."""
    if request.method == "POST" and not request.htmx:  # type: ignore[attr-defined]
        (messages.warning if warn else messages.success)(request, note)
        next_url = reverse("annotate:adjudicate", args=[request.project.slug])
        return redirect(f"{next_url}?done={done.pk}" if done is not None and undo else next_url)
    undoable = done if undo or request.method != "POST" else None
    assignment = adjudication.claim_next(reviewer=request.user, project=request.project)
    reply = _show(
        request,
        assignment,
        task_kinds.form_of(assignment) if assignment is not None else None,
        part="receipt_and_task" if request.method == "POST" else "task",
        note=note,
        warn=warn,
        undo=_undo_url(undoable) if undoable is not None else "",
    )
    reply[responses.TASK_HEADER] = str(assignment.pk) if assignment is not None else ""
    return reply


def _refused(request: ProjectRequest, assignment: Assignment, refusal: Refused) -> HttpResponse:
    """Say why, and keep what was entered."""
    if request.htmx:  # type: ignore[attr-defined]
        return responses.refused(request, assignment, refusal)
    return _show_again(
        request, assignment, responses.form_data(request, assignment), refusal=str(refusal), status=refusal.status
    )


def _show_again(
    request: ProjectRequest, assignment: Assignment, fields: FormData | None, *, status: int = 200, refusal: str = ""
) -> HttpResponse:
    form = task_kinds.form_of(assignment, data=fields)
    return _show(request, assignment, form, part="task", status=status, refusal=refusal)


def _show(
    request: ProjectRequest, assignment: Assignment | None, form: Any, *, part: str, **context: Any
) -> HttpResponse:
    context |= {"adjudicating": True, "empty": "annotate/review/nothing_waits.html"}
    if assignment is not None:
        status = responses.assignment_status(assignment)
        context |= {"revising": status["revising"], "skipped": status["skipped"]}
        context |= _beside(request, assignment, asked=request.GET.get("orders") == "shown")
    return responses.show(request, page=PAGE, part=part, done=_decided_lately(request), form=form, **context)


def _beside(request: ProjectRequest, assignment: Assignment, *, asked: bool) -> dict[str, Any]:
    """The labelers' orders where they may be seen now, and whether the reviewer may ask for them."""
    view = request.project.adjudication_view
    where = [request.project.slug, assignment.pk]
    if view == adjudication.View.SHOWN or (view == adjudication.View.CHOICE and asked):
        consensus = TaskConsensus.objects.filter(task=assignment.task_id).first()
        return {"orders": adjudication.orders(assignment), "consensus": consensus}
    if view == adjudication.View.CHOICE:
        return {"orders_url": reverse("annotate:adjudication_orders", args=where)}
    return {"is_blind": True}


def _decided_lately(request: ProjectRequest) -> int:
    yesterday = timezone.now() - timedelta(hours=24)
    own = Judgment.objects.filter(labeler=request.user, project=request.project, created_at__gte=yesterday)
    return own.filter(is_adjudication=True, latest__isnull=False).count()


def _undo_url(assignment: Assignment) -> str:
    return reverse("annotate:adjudication_undo", args=[assignment.project.slug, assignment.pk])
