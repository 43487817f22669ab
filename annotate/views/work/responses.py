"""How a task is shown: as a page, as the fragment that scripts put in its place, and with the form filled in again."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from annotate.errors import Refused
from annotate.forms.response_keys import ResponseKeys
from annotate.forms.task_forms import FormData, shown_fields
from annotate.labeling import queue, task_kinds
from annotate.labeling.checks import thresholds
from annotate.labeling.qualification import is_qualified
from annotate.models import Assignment, Judgment, Project, Report
from annotate.models.prepared_queries import prepared_query
from annotate.people import keyboard_shortcuts
from annotate.people.guidelines import changes_since_last_work
from annotate.people.permissions import Capability, ProjectRequest
from annotate.quality import review
from annotate.quality.labeler_progress import LabelerProgress
from annotate.views.work import untouched_board

# What the work page's scripts import, for the browser to fetch at once instead of import by import.
MODULES = (
    *(f"hone/{name}.js" for name in ("fragments", "messages", "prose")),
    *(f"hone/work/{name}.js" for name in ("board", "choice", "diff", "diff_dialog", "draft", "form_fields", "frame")),
    *(f"hone/work/{name}.js" for name in ("keys", "layout", "outbox", "receipt", "sign_in", "store", "task", "words")),
    *("hone/work/writing.js", "vendor/diff/array.js", "vendor/diff/base.js"),
)
PAGE = "annotate/work/page.html"
# What a page says of an earlier task besides its form.
OF_EARLIER_TASKS = ("refusal", "back", "revising", "returned_with", "late", "skipped")
# Names the task that a fragment holds, for the script that decides whether it is the one on the screen.
TASK_HEADER = "X-Hone-Task"


def form_data(request: HttpRequest, assignment: Assignment, *, strict: bool = False) -> dict[str, list[str]]:
    """The form's fields, responses by their ids (see forms.response_keys). Raises UnknownResponse if `strict`."""
    return task_kinds.response_keys(assignment).to_ids(dict(request.POST.lists()), strict=strict)


def show_next(
    request: ProjectRequest, *, done: Assignment | None = None, note: str = "", warn: bool = False, undo: bool = False
) -> HttpResponse:
    """After an action, or at the beginning: the next task (see show_claimed).

    To a browser without scripts after an action by redirection, so that a reload repeats nothing.
    """
    if request.method == "POST" and not request.htmx:  # type: ignore[attr-defined]
        (messages.warning if warn else messages.success)(request, note)
        back = reverse("annotate:work", args=[request.project.slug])
        return redirect(f"{back}?done={done.pk}" if done is not None and undo else back)
    # A script asks for the one ahead while the labeler reads, so they don't wait for it here.
    assignment = queue.claim_next(labeler=request.user, project=request.project, ahead=request.method != "POST")
    return show_claimed(request, assignment, done=done, note=note, warn=warn, undo=undo)


def show_claimed(
    request: ProjectRequest,
    assignment: Assignment | None,
    *,
    done: Assignment | None = None,
    note: str = "",
    warn: bool = False,
    undo: bool = False,
) -> HttpResponse:
    """The labeler's current task: after an action to a script the receipt with the task, or the receipt alone when the
    script has put the task on the screen already (`shown` names it); else a page."""
    by_script = request.method == "POST"
    if assignment is None and not is_qualified(user=request.user, project=request.project):
        return _exam_gate(request)
    shown_already = by_script and assignment is not None and request.POST.get("shown") == str(assignment.pk)
    context: dict[str, Any] = {
        "form": task_kinds.form_of(assignment) if assignment is not None and not shown_already else None,
        "shown_already": shown_already,
        "note": note,
        "warn": warn,
        "undo": undo_url(done) if done is not None and undo else "",
    }
    if assignment is None:
        chosen = queue.chosen_kind(labeler=request.user, project=request.project)
        context["why_no_work"] = queue.why_no_work(labeler=request.user, project=request.project, kind=chosen)
    response = show(request, part="receipt_and_task" if by_script else "task", **context)
    response[TASK_HEADER] = str(assignment.pk) if assignment is not None else ""
    return response


def show(
    request: ProjectRequest, *, page: str = PAGE, part: str = "task", status: int = 200, **context: Any
) -> HttpResponse:
    """The page, or to a script a part of it: `task`, or `receipt_and_task`. `page`: of labeling, or one like it that
    says in its context how far one is (`done`)."""
    by_script = bool(request.htmx)  # type: ignore[attr-defined]
    context |= {"project": request.project, "may_manage": Capability.MANAGE in request.capabilities}
    context["report_reasons"] = Report.Reason.choices
    if by_script and page == PAGE and not (context.get("form") or context.get("shown_already")):
        # There is nothing to do, perhaps of the chosen kind alone.
        context["chosen_kind"] = queue.chosen_kind(labeler=request.user, project=request.project)
    if page == PAGE and (part == "receipt_and_task" or not by_script):
        context["done"] = _judged_lately(request)
    if not by_script:
        # An exam says itself how far one is.
        if page == PAGE and context.get("back") != "exam":
            context |= _progress(request, context["done"])
        context |= {
            "guidelines": request.project.guidelines,
            "changes": changes_since_last_work(labeler=request.user, project=request.project),
            "quality_warnings": thresholds.sentences(labeler=request.user, project=request.project),
            "returned": review.open_returns(labeler=request.user, project=request.project).count(),
            "keys": {} if keyboard_shortcuts.switched_off(request.user) else keyboard_shortcuts.key_map(request.user),
            "key_actions": keyboard_shortcuts.KEY_ACTIONS,
            "modules": MODULES,
        }
    if not by_script:
        return render(request, page, context, status=status)
    if page == PAGE and status == 200 and not any(context.get(name) for name in OF_EARLIER_TASKS):
        shown = {name: context[name] for name in ("project", "may_manage", "report_reasons")}
        html = untouched_board.rendered(request, context.get("form"), template=f"{PAGE}#task", context=shown)
        if html and part == "receipt_and_task":
            html = render_to_string(f"{PAGE}#receipt", context, request) + html
        if html:
            return HttpResponse(html)
    # The fragments are the same on both.
    return render(request, f"{PAGE}#{part}", context, status=status)


def assignment_status(assignment: Assignment) -> dict[str, Any]:
    """Context of an earlier task: whether it is revised, returned, late or skipped."""
    judgment = Judgment.objects.filter(assignment=assignment, latest__isnull=False).first()
    return {
        "revising": judgment is not None,
        "returned_with": list(judgment.returns.filter(revision=judgment.latest).select_related("reviewer"))
        if judgment
        else [],
        "late": assignment.state == Assignment.State.EXPIRED,
        "skipped": assignment.state == Assignment.State.SKIPPED,
    }


def refused(request: ProjectRequest, assignment: Assignment, refusal: Refused) -> HttpResponse:
    """Say why, and keep what was entered: a script leaves the form alone, a plain form comes back filled in."""
    if request.htmx:  # type: ignore[attr-defined]
        reply = HttpResponse(str(refusal), status=refusal.status, content_type="text/plain; charset=utf-8")
        # As text: the sentence may quote what was sent.
        reply["HX-Reswap"], reply["HX-Retarget"] = "textContent", "#refusal"
        return reply
    return show_again(request, assignment, form_data(request, assignment), refusal=str(refusal), status=refusal.status)


def show_again(
    request: ProjectRequest, assignment: Assignment, fields: FormData | None, *, status: int = 200, refusal: str = ""
) -> HttpResponse:
    """A certain task with its form filled in."""
    form = task_kinds.form_of(assignment, data=fields)
    back = request.POST.get("back") or request.GET.get("back", "")
    context = assignment_status(assignment) | {
        "form": form,
        "refusal": refusal,
        "back": "mine" if back == "mine" else "",
    }
    return show(request, status=status, **context)


def fields_to_revise(assignment: Assignment) -> FormData | None:
    """The judgment that was given, as its form has it; None where there is none, or where a draft comes before it."""
    if assignment.draft is not None:
        return None
    judgment = Judgment.objects.select_related("latest").filter(assignment=assignment).first()
    if judgment is None or judgment.latest is None:
        return None
    return task_kinds.form_class(assignment).initial_data(judgment.latest)


def undo_url(assignment: Assignment) -> str:
    return reverse("annotate:undo", args=[assignment.project.slug, assignment.pk])


def draft_reply(receipt: queue.DraftReceipt, names: ResponseKeys, project: Project) -> JsonResponse:
    """What became of a draft, for the script that sent it; a conflict is no error of its."""
    return JsonResponse(
        {
            "kept": receipt.kept,
            "conflict": receipt.conflict,
            "over": receipt.over,
            "expired": receipt.expired,
            "version": receipt.version,
            "draft": drafted(receipt.draft, names, project),
        }
    )


def drafted(draft: Any, names: ResponseKeys, project: Project) -> dict[str, list[str]] | None:
    """A stored draft as the page names its fields."""
    return None if draft is None else shown_fields(draft, names, project)


def _judged_lately(request: ProjectRequest) -> int:
    yesterday = timezone.now() - timedelta(hours=24)
    return _judged_since.count(labeler=request.user.pk, project=request.project.pk, since=yesterday)


@prepared_query
def _judged_since(labeler: int, project: int, since: datetime) -> QuerySet[Judgment]:
    own = Judgment.objects.filter(labeler_id=labeler, project_id=project, created_at__gte=since)
    return own.filter(latest__isnull=False, is_adjudication=False)


def _progress(request: ProjectRequest, done: int) -> dict[str, Any]:
    """How far this person is: submitted in the last 24 hours, of these and what the queue would give them now; and the
    kinds of task to choose from."""
    open_tasks = LabelerProgress(labeler=request.user, project=request.project).open_tasks
    chosen = queue.chosen_kind(labeler=request.user, project=request.project)
    coming = [item for item in open_tasks if chosen in ("", item.kind)]
    total = done + sum(item.count for item in coming)
    text = f"{total}+" if any(item.more for item in coming) else str(total)
    counts = {item.kind: f"{item.count}{'+' if item.more else ''}" for item in open_tasks}
    offered = [kind for kind in task_kinds.registered() if kind.name in request.project.task_kinds]
    kinds = [(kind.name, kind.label, counts.get(kind.name, "0")) for kind in offered]
    return {
        "progress": {"done": done, "total": total if coming else 0, "total_text": text},
        "kinds": kinds if len(kinds) > 1 else [],
        "chosen_kind": chosen,
    }


def _exam_gate(request: ProjectRequest) -> HttpResponse:
    """Live work begins after the exam, or goes on after it where it is asked for again."""
    again = thresholds.requalification_of(labeler=request.user, project=request.project)
    reason = thresholds.sentence(again) if again is not None else ""
    return render(request, "annotate/work/exam_gate.html", {"project": request.project, "reason": reason})
