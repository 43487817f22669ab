"""Review: others' judgments, to look at and to send back with a comment; and what labelers reported."""

from enum import StrEnum
from typing import Any

from django.contrib import messages
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.data.keyset_pages import keyset_page
from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.labeling import judged_texts, task_kinds
from annotate.models import Judgment, JudgmentAcceptance, JudgmentReturn, Report, Task, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality import review as reviewing
from annotate.quality.consensus import ConsensusView

MOST_REPORTS = 50


class Show(StrEnum):
    """Which judgments the list shows."""

    ALL = ""
    OPEN = "open"
    RETURNED = "returned"
    ACCEPTED = "accepted"

    @property
    def label(self) -> str:
        return {
            Show.ALL: _("Everything"),
            Show.OPEN: _("Not reviewed yet"),
            Show.RETURNED: _("Returned, not revised yet"),
            Show.ACCEPTED: _("Accepted"),
        }[self]


@require_safe
@requires(Capability.REVIEW)
def judgments(request: ProjectRequest) -> HttpResponse:
    """The judgments of people that count, of every kind, the latest first; and the open reports."""
    # A choice within a chat is read with its chat.
    found = Judgment.objects.filter(
        Judgment.BY_LABELERS,
        project=request.project,
        latest__isnull=False,
        is_adjudication=False,
        is_check=False,
        chat_turn=None,
    )
    # One look into an index for each person: PostgreSQL reads all judgments where it is asked whether there is one.
    any_judgment = Subquery(found.filter(labeler=OuterRef("pk")).order_by("created_at").values("pk")[:1])
    labelers = User.objects.alias(any_judgment=any_judgment).exclude(any_judgment=None).order_by("username")
    if (labeler := row_number(wanted := request.GET.get("labeler", ""))) is not None:
        found = found.filter(labeler=labeler)
    open_returns = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment__project=request.project).order_by()
    returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
    accepted = JudgmentAcceptance.objects.filter(revision=OuterRef("latest"))
    found = found.annotate(is_returned=Exists(returned), is_accepted=Exists(accepted))
    kind = request.GET.get("kind", "")
    if kind in task_kinds.names():
        found = found.filter(task__kind=kind)
    show = Show(request.GET.get("show", "")) if request.GET.get("show", "") in set(Show) else Show.ALL
    conditions: dict[Show, dict[str, Any]] = {
        Show.OPEN: {"is_returned": False, "is_accepted": False},
        Show.RETURNED: {"pk__in": open_returns.values("judgment")},
        Show.ACCEPTED: {"is_accepted": True},
    }
    found = found.filter(**conditions.get(show, {}))
    page = keyset_page(
        found.select_related("latest__rubric", "labeler", "task__prompt", "assignment"), request.GET.get("after", "")
    )
    context = {
        "project": request.project,
        "part": "judgments",
        "may_manage": Capability.MANAGE in request.capabilities,
        "rows": [(item, judged_texts.line(item)) for item in page.rows],
        "page": page,
        "labelers": labelers,
        "labeler": wanted,
        "kind": kind,
        "kinds": task_kinds.choices(),
        "show": show,
        "shows": list(Show),
        "reports": Report.objects.filter(project=request.project, resolved_at=None).select_related(
            "assignment__labeler", "assignment__task__prompt"
        )[:MOST_REPORTS],
    }
    return render(request, "annotate/review/judgments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.REVIEW)
def judgment(request: ProjectRequest, judgment_id: int) -> HttpResponse:
    """One judgment in full, to accept it or to send it back."""
    item = access.load(request, Judgment, pk=judgment_id)
    refusal = None
    if request.method == "POST":
        try:
            if "accept" in request.POST:
                return _accepted(request, item)
            reviewing.send_back(judgment=item, by=request.user, comment=request.POST.get("comment", ""))
        except Refused as error:
            refusal = error
        else:
            messages.success(request, _("Returned: the labeler finds it under My work."))
            return redirect("annotate:review", request.project.slug)
    context = {
        "project": request.project,
        "judgment": item,
        "may_manage": Capability.MANAGE in request.capabilities,
        "is_gold": item.task.state == Task.State.GOLD,
        "responses": judged_texts.responses(item, item.latest) if item.latest else [],
        "written": judged_texts.written(item, item.latest) if item.latest else [],
        "line": judged_texts.line(item) if task_kinds.kind_of(item.task).has_order else "",
        "consensus": ConsensusView.beside(item) if item.latest else None,
        "is_sensitive": judged_texts.is_sensitive(item),
        "acceptance": JudgmentAcceptance.objects.filter(revision=item.latest).select_related("reviewer").first(),
        "returns": item.returns.select_related("reviewer", "revision"),
        "is_returned": item.returns.filter(revision=item.latest).exists(),
        "refusal": refusal,
        "comment": request.POST.get("comment", ""),
    }
    return render(request, "annotate/review/judgment.html", context, status=refusal.status if refusal else 200)


def _accepted(request: ProjectRequest, item: Judgment) -> HttpResponse:
    """On to the next one that nobody has reviewed; after the last, the list."""
    reviewing.accept(judgment=item, by=request.user)
    following = reviewing.unreviewed(request.project).filter(pk__lt=item.pk).first()
    if following is None:
        messages.success(request, _("Accepted."))
        return redirect("annotate:review", request.project.slug)
    messages.success(request, _("Accepted. This is the next one that nobody has reviewed."))
    return redirect("annotate:review_judgment", request.project.slug, following.pk)


@require_POST
@requires(Capability.REVIEW)
def resolve(request: ProjectRequest, report_id: int) -> HttpResponse:
    """Close a report."""
    report = access.load(request, Report, pk=report_id)
    reviewing.resolve(report=report, by=request.user)
    messages.success(request, _("The report is closed."))
    return redirect("annotate:review", request.project.slug)
