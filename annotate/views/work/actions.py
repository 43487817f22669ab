"""What becomes of a task: submitted, skipped, reported, kept as a draft, taken back."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from annotate import access
from annotate.errors import Refused
from annotate.forms.task_forms import skip_reason
from annotate.labeling import queue, task_kinds
from annotate.labeling.sensitive_content import marking
from annotate.models import Assignment, Judgment
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality import review
from annotate.views.work import responses


@require_POST
@requires(Capability.LABEL)
def submit(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    assignment = access.load(request, Assignment, pk=assignment_id)
    assignment.labeler = request.user
    from_mine = request.POST.get("back") == "mine"
    shows_next, following = bool(request.htmx) and not from_mine, None  # type: ignore[attr-defined]
    try:
        submission = task_kinds.form_class(assignment).submission(responses.form_data(request, assignment, strict=True))
        if shows_next:
            receipt, following = queue.submit_and_claim(assignment=assignment, submission=submission)
        else:
            receipt = queue.submit(assignment_id=assignment_id, labeler=request.user, submission=submission)
    except Refused as refusal:
        return responses.refused(request, assignment, refusal)
    if receipt.repeated:
        note = _("This had been submitted already; the first judgment counts.")
    elif receipt.revised:
        note = _("Saved as a revision of what you said before.")
    elif receipt.surplus:
        note = _("Saved. Your time for this task had run out and others have judged it: yours is kept beside theirs.")
    else:
        note = _("Saved.")
    if from_mine:
        return _back_to_mine(request, note)
    said: dict[str, Any] = {"done": assignment, "note": note, "warn": receipt.surplus, "undo": not receipt.revised}
    return responses.show_claimed(request, following, **said) if shows_next else responses.show_next(request, **said)


@require_POST
@requires(Capability.LABEL)
def undo(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take back a judgment or a skip of a moment ago. The task is on the board again as it was."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    was_skipped = assignment.state == Assignment.State.SKIPPED
    try:
        assignment = queue.undo(assignment, labeler=request.user)
    except Refused as refusal:
        return responses.refused(request, assignment, refusal)
    note = (
        _("The task that you skipped is back.") if was_skipped else _("Taken back: it counts again when you submit it.")
    )
    if not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, note)
        return redirect("annotate:task", request.project.slug, assignment_id)
    response = responses.show(
        request,
        part="receipt_and_task",
        note=note,
        form=task_kinds.form_of(assignment),
        **responses.assignment_status(assignment),
    )
    response[responses.TASK_HEADER] = str(assignment.pk)
    return response


@require_POST
@requires(Capability.LABEL)
def skip(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    assignment = access.load(request, Assignment, pk=assignment_id)
    reason = skip_reason(responses.form_data(request, assignment))
    try:
        queue.skip(assignment_id=assignment_id, labeler=request.user, reason=reason)
    except Refused as refusal:
        return responses.refused(request, assignment, refusal)
    if request.POST.get("skip_reason") == "upsetting" and assignment.task.prompt is not None:
        marking.report(prompt=assignment.task.prompt, by=request.user, reason=reason)
    return responses.show_next(request, done=assignment, note=_("Skipped."), undo=True)


@require_POST
@requires(Capability.LABEL)
def choose_kind(request: ProjectRequest) -> HttpResponse:
    """Which kind of task comes from now on; any by default."""
    try:
        queue.choose_kind(labeler=request.user, project=request.project, kind=request.POST.get("kind", ""))
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("annotate:work", request.project.slug)


@require_POST
@requires(Capability.LABEL)
def report(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Tell those who manage the project that something is wrong with a task, which stays with the labeler."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    try:
        review.report(
            assignment=assignment,
            by=request.user,
            reason=request.POST.get("report_reason", ""),
            note=request.POST.get("report_note", ""),
        )
    except Refused as refusal:
        return responses.refused(request, assignment, refusal)
    thanks = _("Reported, thank you. The task is still yours: do it or skip it.")
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(thanks, content_type="text/plain; charset=utf-8")
    messages.success(request, thanks)
    return responses.show_again(request, assignment, responses.form_data(request, assignment))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.LABEL)
def draft(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Keep what was entered so far; asked for, say what is kept, so that an open page sees whether it is behind."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    if request.method != "POST":
        return JsonResponse(kept_draft(assignment))
    try:
        receipt = queue.save_draft(
            assignment_id=assignment_id,
            labeler=request.user,
            draft=task_kinds.form_class(assignment).draft(responses.form_data(request, assignment)),
            **draft_numbers(request),
        )
    except Refused as refusal:
        return JsonResponse({"error": str(refusal)}, status=refusal.status)
    return responses.draft_reply(receipt, task_kinds.response_keys(assignment), request.project)


def draft_numbers(request: ProjectRequest) -> dict[str, Any]:
    """Which page sent a draft, under which number, and which one it builds on. Raises Refused (400)."""
    numbers = {name: request.POST.get(name, "") for name in ("draft_version", "draft_base")}
    if any(not (text.isascii() and text.isdigit() and len(text) < 16) for text in numbers.values() if text):
        raise Refused(_("A draft is numbered by whole numbers."), status=400)
    version, base = (int(text) if text else None for text in numbers.values())
    return {"page": request.POST.get("draft_page", ""), "version": version, "base": base}


def kept_draft(assignment: Assignment) -> dict[str, object]:
    """What is kept of a task's draft, for the page that asks whether it is behind."""
    judged = Judgment.objects.filter(assignment=assignment, latest__isnull=False).exists()
    return {
        "version": assignment.draft_version,
        "page": assignment.draft_page,
        "draft": responses.drafted(assignment.draft, task_kinds.response_keys(assignment), assignment.project),
        "state": assignment.state,
        "judged": judged,
    }


def _back_to_mine(request: ProjectRequest, note: str) -> HttpResponse:
    """A revision from My work leads back there."""
    messages.success(request, note)
    mine = reverse("annotate:mine", args=[request.project.slug])
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(mine)
    return HttpResponseClientRedirect(mine)
