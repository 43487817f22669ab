"""Review: others' judgments, to look at and to send back with a comment; and what labelers reported."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from .. import access
from .. import review as reviewing
from ..errors import Refused
from ..models import Judgment, JudgmentReturn, JudgmentRevision, Report, Response, User
from ..ordering import Ordering
from ..permissions import Capability, ProjectRequest, requires
from ..rubric import shown

PAGE = 25
MOST_REPORTS = 50


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """An answer in a judgment, as its labeler left it. `rank` None: not ranked."""

    letter: str
    text: str
    rank: int | None
    ratings: list[tuple[str, float]]
    flags: list[str]
    note: str


@require_safe
@requires(Capability.REVIEW)
def judgments(request: ProjectRequest) -> HttpResponse:
    """The judgments that count, the latest first, of everybody or of one labeler; and the open reports."""
    found = Judgment.objects.filter(project=request.project, latest__isnull=False)
    labelers = User.objects.filter(Exists(found.filter(labeler=OuterRef("pk")))).order_by("username")
    wanted = request.GET.get("labeler", "")
    if wanted.isdecimal() and len(wanted) < 19:
        found = found.filter(labeler=int(wanted))
    returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
    found = found.annotate(is_returned=Exists(returned))
    if request.GET.get("show") == "returned":
        found = found.filter(is_returned=True)
    related = found.select_related("latest", "labeler", "task__prompt", "assignment")
    page = Paginator(related.order_by("-pk"), PAGE).get_page(request.GET.get("page"))
    context = {
        "project": request.project,
        "page": page,
        "rows": [(item, _order(item)) for item in page],
        "labelers": labelers,
        "labeler": wanted,
        "show": request.GET.get("show", ""),
        "reports": Report.objects.filter(project=request.project, resolved_at=None).select_related(
            "assignment__labeler", "assignment__task__prompt"
        )[:MOST_REPORTS],
    }
    return render(request, "annotate/review/judgments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.REVIEW)
def judgment(request: ProjectRequest, judgment_id: int) -> HttpResponse:
    """One judgment in full, and the form that sends it back."""
    item = access.load(request, Judgment, pk=judgment_id)
    refusal = None
    if request.method == "POST":
        try:
            reviewing.send_back(judgment=item, by=request.user, comment=request.POST.get("comment", ""))
        except Refused as error:
            refusal = error
        else:
            messages.success(request, _("Returned: the labeler finds it under My work."))
            return redirect("annotate:review", request.project.slug)
    context = {
        "project": request.project,
        "judgment": item,
        "answers": _answers(item, item.latest) if item.latest else [],
        "order": _order(item),
        "returns": item.returns.select_related("reviewer", "revision"),
        "is_returned": item.returns.filter(revision=item.latest).exists(),
        "refusal": refusal,
        "comment": request.POST.get("comment", ""),
    }
    return render(request, "annotate/review/judgment.html", context, status=refusal.status if refusal else 200)


@require_POST
@requires(Capability.REVIEW)
def resolve(request: ProjectRequest, report_id: int) -> HttpResponse:
    """Close a report."""
    report = access.load(request, Report, pk=report_id)
    reviewing.resolve(report=report, by=request.user)
    messages.success(request, _("The report is closed."))
    return redirect("annotate:review", request.project.slug)


def _order(judgment: Judgment) -> str:
    """The answers that were ranked, in the letters that the labeler saw."""
    tiers = judgment.latest.tiers if judgment.latest else None
    return Ordering.stored(tiers).in_letters(judgment.assignment.presentation)


def _answers(judgment: Judgment, revision: JudgmentRevision) -> list[JudgedAnswer]:
    """Best first, the unranked ones last, as the labeler lettered them."""
    presentation = judgment.assignment.presentation
    responses = Response.objects.in_bulk(presentation)
    ranks = Ordering.stored(revision.tiers).ranks()
    rubric = revision.rubric
    criteria = {item["name"]: shown(item["label"]) for item in (rubric.criteria if rubric else [])}
    flags = {item["name"]: shown(item["label"]) for item in (rubric.flags if rubric else [])}
    answers = []
    for number, key in enumerate(presentation):
        answers.append(
            JudgedAnswer(
                letter=chr(ord("A") + number),
                text=responses[key].text,
                rank=ranks.get(key),
                ratings=[(criteria.get(n, n), value) for n, value in revision.ratings.get(str(key), {}).items()],
                flags=[flags.get(name, name) for name in revision.flags.get(str(key), [])],
                note=revision.notes.get(str(key), ""),
            )
        )
    return sorted(answers, key=lambda answer: (answer.rank is None, answer.rank or 0, answer.letter))
