"""Changes of many judgments or tasks at once: a labeler's judgments left out, judged tasks given out again."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.forms.bulk_changes import LeaveOutForm, ReopenForm
from annotate.models import JudgmentExclusion, Prompt, TaskReopening, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.people.projects import count_people_who_judge
from annotate.quality import review
from annotate.quality.review import exclusions, reopening
from annotate.quality.review.reopening import MOST_COUNTED, TaskFilter

PAGE = "annotate/review/bulk.html"
SHOWN = 50
"""The latest changes of each kind."""


@require_safe
@never_cache
@requires(Capability.MANAGE)
def bulk(request: ProjectRequest) -> HttpResponse:
    """The page, with ?labeler=3 chosen; to a script that polls, how far the changes are."""
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, f"{PAGE}#changes", _changes(request))
    leave_out = LeaveOutForm(request.project)
    leave_out.initial["labeler"] = request.GET.get("labeler", "")
    return _page(request, leave_out=leave_out)


@require_POST
@requires(Capability.MANAGE)
def leave_out(request: ProjectRequest) -> HttpResponse:
    """Leave a labeler's judgments out, or say first how many that are (`preview`)."""
    form = LeaveOutForm(request.project, request.POST)
    if not form.is_valid():
        return _page(request, leave_out=form, status=400)
    data = form.cleaned_data
    asked = {"project": request.project, "labeler": data["labeler"], "since": data["since"]}
    if "preview" in request.POST:
        count = exclusions.judgments_since(**asked)[:MOST_COUNTED].count()
        return _page(request, leave_out=form, leave_out_count=count)
    try:
        change = review.leave_out(
            **asked, reason=data["reason"], gives_out_again=data["gives_out_again"], by=request.user
        )
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, leave_out=form, status=refusal.status)
    messages.success(request, _said(change, left_out=True))
    return redirect("annotate:review_bulk", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def count_again(request: ProjectRequest, exclusion_id: int) -> HttpResponse:
    """Undo an exclusion."""
    exclusion = access.load(request, JudgmentExclusion, pk=exclusion_id)
    review.count_again(exclusion=exclusion, by=request.user)
    messages.success(request, _("These judgments count again."))
    return redirect("annotate:review_bulk", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def reopen(request: ProjectRequest) -> HttpResponse:
    """Give judged tasks out again, or say first how many that are (`preview`)."""
    form = ReopenForm(request.project, request.POST)
    if not form.is_valid():
        return _page(request, reopen=form, status=400)
    if "preview" in request.POST:
        return _page(request, reopen=form, reopen_count=reopening.preview(project=request.project, chosen=form.chosen))
    try:
        change = reopening.reopen(
            project=request.project, chosen=form.chosen, judgments=form.cleaned_data["judgments"], by=request.user
        )
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, reopen=form, status=refusal.status)
    messages.success(request, _said(change, left_out=False))
    return redirect("annotate:review_bulk", request.project.slug)


def _said(change: Any, *, left_out: bool) -> str:
    if change.is_under_way:
        return _("This goes on in the background. You may leave this page.")
    if left_out:
        sentence = ngettext("%(n)d judgment is left out.", "%(n)d judgments are left out.", change.done)
    else:
        sentence = ngettext("%(n)d task is given out again.", "%(n)d tasks are given out again.", change.done)
    return sentence % {"n": change.done}


def _changes(request: ProjectRequest) -> dict[str, Any]:
    left_out = list(
        JudgmentExclusion.objects.filter(project=request.project).select_related("labeler", "created_by", "undone_by")[
            :SHOWN
        ]
    )
    reopened = list(TaskReopening.objects.filter(project=request.project).select_related("created_by")[:SHOWN])
    chosen = [TaskFilter.stored(change.filters) for change in reopened]
    people = User.objects.in_bulk([each.labeler for each in chosen if each.labeler is not None])
    return {
        "project": request.project,
        "exclusions": left_out,
        "reopenings": [
            {
                "change": change,
                "labeler": people.get(each.labeler or 0),
                "filter": each,
                "use_case": dict(Prompt.UseCase.choices).get(each.use_case, ""),
            }
            for change, each in zip(reopened, chosen, strict=True)
        ],
        "under_way": any(change.is_under_way for change in [*left_out, *reopened]),
    }


def _page(request: ProjectRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    context = {
        **_changes(request),
        "part": "bulk",
        "may_manage": True,
        "leave_out": LeaveOutForm(request.project),
        "reopen": ReopenForm(request.project),
        "people": count_people_who_judge(request.project),
        "most_counted": MOST_COUNTED,
    }
    return render(request, PAGE, context | shown, status=status)
