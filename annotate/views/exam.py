"""The qualification exam: taken by labelers on the board they work with later, set and watched by managers."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from annotate import access
from annotate.errors import Refused
from annotate.forms.exam import ExamBoard
from annotate.forms.tasks import ExamForm
from annotate.labeling import exam as qualification_exam
from annotate.labeling import qualification
from annotate.models import ExamAnswer, Judgment, Membership, Task, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.people.projects import edit_project
from annotate.views.work import responses

MOST_LISTED = 50


@dataclass(frozen=True, slots=True)
class Examinee:
    """A labeler on the manager's page."""

    user: User
    progress: qualification.ExamProgress


# ---- a labeler takes it ------------------------------------------------------------------------------------------


@require_safe
@never_cache
@requires(Capability.LABEL)
def exam(request: ProjectRequest) -> HttpResponse:
    """The item at hand; before an attempt what it is about, after it the result."""
    progress = qualification.exam_progress(user=request.user, project=request.project)
    if progress.open_attempt is not None and (item := qualification_exam.current(progress.open_attempt)) is not None:
        return responses.show(request, form=ExamBoard(item), back="exam")
    last = progress.last
    context = {
        "project": request.project,
        "exam_progress": progress,
        "count": qualification_exam.askable(labeler=request.user, project=request.project).count(),
        "attempt": last,
        "results": ExamBoard.results(last) if last is not None else [],
        "shows_known": last is not None and qualification_exam.may_see_known(last),
        "may_manage": Capability.MANAGE in request.capabilities,
    }
    return render(request, "annotate/exam.html", context)


@require_POST
@requires(Capability.LABEL)
def start(request: ProjectRequest) -> HttpResponse:
    try:
        qualification_exam.start(labeler=request.user, project=request.project)
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("annotate:exam", request.project.slug)


@require_POST
@requires(Capability.LABEL)
def answer(request: ProjectRequest, answer_id: int) -> HttpResponse:
    """Hand in one item; the next one comes, or after the last one the result."""
    item = access.load(request, ExamAnswer, pk=answer_id)
    names, sent = ExamBoard(item).response_keys, dict(request.POST.lists())
    form = ExamBoard(item, data=names.to_ids(sent))
    try:
        submission = ExamBoard.submission(names.to_ids(sent, strict=True))
        attempt = qualification_exam.answer(
            answer_id=answer_id,
            labeler=request.user,
            tiers=submission.tiers,
            all_unacceptable=submission.all_unacceptable,
        )
    except Refused as refusal:
        if request.htmx:  # type: ignore[attr-defined]
            return responses.refused(request, form.assignment, refusal)
        return responses.show(request, form=form, back="exam", refusal=str(refusal), status=refusal.status)
    following = qualification_exam.current(attempt)
    page = reverse("annotate:exam", args=[request.project.slug])
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(page)
    if following is None:
        return HttpResponseClientRedirect(page)
    response = responses.show(
        request, part="receipt_and_task", form=ExamBoard(following), back="exam", note=_("Saved.")
    )
    response[responses.TASK_HEADER] = f"exam-{following.pk}"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.LABEL)
def draft(request: ProjectRequest, answer_id: int) -> HttpResponse:
    """Keep what was entered so far; asked for, say what is kept."""
    item = access.load(request, ExamAnswer, pk=answer_id)
    names = ExamBoard(item).response_keys
    if request.method != "POST":
        judged, draft = item.answered_at is not None, responses.drafted(item.draft, names, request.project)
        return JsonResponse({"version": item.draft_version, "page": "", "draft": draft, "judged": judged})
    number = request.POST.get("draft_version", "")
    version = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else None
    data = ExamBoard.draft(names.to_ids(dict(request.POST.lists())))
    try:
        receipt = qualification_exam.save_draft(answer_id=item.pk, labeler=request.user, draft=data, version=version)
    except Refused as refusal:
        return JsonResponse({"error": str(refusal)}, status=refusal.status)
    return responses.draft_reply(receipt, names, request.project)


# ---- a manager sets it -------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def settings(request: ProjectRequest) -> HttpResponse:
    """Threshold and attempts, what is asked, and who stands where."""
    form = ExamForm.of(request.project, request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _settings_page(request, form=form)
    try:
        edit_project(project=request.project, by=request.user, **form.changes)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _settings_page(request, form=form)
    messages.success(request, _("Saved."))
    return redirect("annotate:exam_settings", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def item(request: ProjectRequest, task_id: int) -> HttpResponse:
    """Take a comparison into the exam, by its known ordering or by one's own judgment (`judgment`), or out again."""
    task = access.load(request, Task, pk=task_id)
    try:
        if "remove" in request.POST:
            qualification_exam.remove_item(task=task, by=request.user)
        else:
            own = Judgment.objects.filter(task=task, labeler=request.user, latest__isnull=False).first()
            qualification_exam.add_item(
                task=task, by=request.user, judgment=own if "judgment" in request.POST else None
            )
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("annotate:exam_settings", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def examinee(request: ProjectRequest, user_id: int) -> HttpResponse:
    """Let a labeler work without the exam (`waive`), or begin it anew (`annul`)."""
    labeler = access.load(request, User, pk=user_id)
    try:
        if "waive" in request.POST:
            qualification_exam.waive(labeler=labeler, project=request.project, by=request.user)
            message = _("%(name)s gets live work now.")
        else:
            qualification_exam.annul(labeler=labeler, project=request.project, by=request.user)
            message = _("%(name)s begins anew.")
    except Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, message % {"name": labeler.display_name})
    return redirect("annotate:exam_settings", request.project.slug)


def _settings_page(request: ProjectRequest, *, form: ExamForm) -> HttpResponse:
    project = request.project
    comparisons = Task.objects.filter(project=project, kind=Task.Kind.COMPARE).select_related("prompt")
    usable = comparisons.filter(state__in=[Task.State.OPEN, Task.State.COMPLETE])
    own = Judgment.objects.filter(labeler=request.user, latest__isnull=False, chat_turn=None).values("task")
    members = User.objects.filter(
        memberships__project=project, memberships__role__in=[Membership.Role.LABELER, Membership.Role.REVIEWER]
    )
    context: dict[str, Any] = {
        "project": project,
        "form": form,
        "items": comparisons.filter(state=Task.State.EXAM),
        "known": usable.filter(gold_tiers__isnull=False)[:MOST_LISTED],
        "judged": usable.filter(gold_tiers__isnull=True, pk__in=own)[:MOST_LISTED],
        "examinees": [
            Examinee(user, qualification.exam_progress(user=user, project=project))
            for user in members.distinct().order_by("username")
        ],
        "is_on": qualification.is_on(project),
        "fail_tells_order": qualification_exam.fail_tells_order(
            qualification_exam.known_pairs(project), project.exam_threshold or 0.0
        ),
    }
    return render(request, "annotate/exam_settings.html", context, status=400 if form.errors else 200)
