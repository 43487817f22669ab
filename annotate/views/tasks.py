"""A manager's pages of tasks: the list with its filters, one task, new tasks, and which kinds labelers get."""

import re
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.data.text_search import search_index
from annotate.errors import Refused
from annotate.forms.tasks import KindsForm, NewTasksForm
from annotate.labeling import judged_texts, requested_tasks, task_kinds
from annotate.labeling.ordering import Ordering
from annotate.labeling.task_list import task_edits, task_listing
from annotate.labeling.task_list.task_filters import FILTERS, TaskFilters, people
from annotate.models import Judgment, Task, TaskChange
from annotate.people.permissions import Capability, ProjectRequest, count_people_who_judge, requires
from annotate.people.projects import edit_project
from annotate.quality import project_figures

MOST_JUDGMENTS_SHOWN = 50


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def tasks(request: ProjectRequest) -> HttpResponse:
    """The page; a POST makes new tasks."""
    form = NewTasksForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form=form)
    try:
        made = requested_tasks.add(project=request.project, by=request.user, **form.arguments)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form=form)
    messages.success(
        request, ngettext("%(n)d task is in the queue.", "%(n)d tasks are in the queue.", made) % {"n": made}
    )
    if form.cleaned_data["kind"] not in request.project.task_kinds:
        messages.warning(request, _("Labelers don't get this kind yet: switch it on."))
    return redirect("annotate:tasks", request.project.slug)


@require_safe
@requires(Capability.MANAGE)
def one(request: ProjectRequest, task_id: int) -> HttpResponse:
    """One task: its prompt, responses with their authors, and judgments."""
    task = access.load(request, Task, pk=task_id)
    judgments = list(
        Judgment.objects.filter(task=task, latest__isnull=False)
        .select_related("latest__rubric", "labeler", "task__prompt", "assignment")
        .order_by("pk")[:MOST_JUDGMENTS_SHOWN]
    )
    responses = list(task.task_responses.select_related("response__author").order_by("number"))
    shown = [item.response_id for item in responses]
    consensus = getattr(task, "consensus", None)
    context = {
        "project": request.project,
        "task": task,
        "responses": responses,
        "judgments": [(judgment, _line(judgment, shown)) for judgment in judgments],
        "consensus": consensus,
        "consensus_line": Ordering.stored(consensus.tiers).in_letters(shown) if consensus and consensus.tiers else "",
    }
    return render(request, "annotate/task.html", context)


def _line(judgment: Judgment, shown: list[int]) -> str:
    """In the letters of the page and not in those of each labeler, so that orders can be compared."""
    revision = judgment.latest
    if revision is None or not revision.tiers or not task_kinds.kind_of(judgment.task).has_order:
        return judged_texts.line(judgment)
    return Ordering.stored(revision.tiers).in_letters(shown)


@require_POST
@requires(Capability.MANAGE)
def kinds(request: ProjectRequest) -> HttpResponse:
    """Which kinds labelers get."""
    form = KindsForm(request.POST)
    if not form.is_valid():
        return _page(request, form=NewTasksForm(), refusal=" ".join(map(str, form.errors["task_kinds"])))
    edit_project(project=request.project, by=request.user, task_kinds=form.cleaned_data["task_kinds"])
    messages.success(request, _("Saved."))
    return redirect("annotate:tasks", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def withdraw(request: ProjectRequest) -> HttpResponse:
    """Take the open tasks of a kind out of the queue, or put withdrawn ones back (`restore`)."""
    kind = request.POST.get("kind", "")
    if kind not in task_kinds.names():
        return _page(request, form=NewTasksForm(), refusal=_("There is no such kind of task."))
    change = requested_tasks.restore if "restore" in request.POST else requested_tasks.withdraw
    changed = change(project=request.project, by=request.user, kind=kind)
    messages.success(
        request, ngettext("%(n)d task was changed.", "%(n)d tasks were changed.", changed) % {"n": changed}
    )
    return redirect("annotate:tasks", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def change(request: ProjectRequest) -> HttpResponse:
    """Change the ticked tasks, or (`scope=passing`) all that the address's filters let through; then the same list."""
    filters = TaskFilters.of(request.project, request.GET.dict())
    ticked = None if request.POST.get("scope") == "passing" else _numbers(request.POST.getlist("task"))
    act = request.POST.get("act", "")
    try:
        if act in ("withdraw", "restore"):
            changed = task_edits.withdraw(filters=filters, by=request.user, ticked=ticked, restore=act == "restore")
        else:
            planned = task_edits.change(filters=filters, by=request.user, ticked=ticked, values=_values(request, act))
            changed = planned.tasks_changed
            if planned.state in TaskChange.UNFINISHED:
                messages.success(request, _("The change is being applied in the background. You may leave this page."))
    except Refused as refusal:
        return _page(request, form=NewTasksForm(), refusal=str(refusal))
    messages.success(
        request, ngettext("%(n)d task was changed.", "%(n)d tasks were changed.", changed) % {"n": changed}
    )
    return redirect(f"{reverse('annotate:tasks', args=[request.project.slug])}?{request.GET.urlencode()}")


def _numbers(written: list[str]) -> list[int]:
    return [int(number) for number in written if re.fullmatch(r"[0-9]{1,18}", number)]


def _values(request: ProjectRequest, act: str) -> dict[str, Any]:
    """What the tasks get. Raises Refused for what the form doesn't offer."""
    written = request.POST.get(act, "").strip()
    if act == "priority" and re.fullmatch(r"[+-]?[0-9]{1,6}", written):
        return {"priority": int(written)}
    if act == "judgments_wanted" and re.fullmatch(r"[+-]?[0-9]{1,6}", written):
        return {"judgments_wanted": int(written)}
    if act in ("reserved_for", "skill") and re.fullmatch(r"[0-9]{0,18}", written):
        return {act: int(written) if written else None}
    raise Refused(_("Choose what the tasks get."), status=400)


def _page(request: ProjectRequest, *, form: NewTasksForm, refusal: str = "") -> HttpResponse:
    context: dict[str, Any] = {"project": request.project, "form": form, "refusal": refusal, **_list(request)}
    if request.htmx and request.htmx.target == "task-list":  # type: ignore[attr-defined]
        return render(request, "annotate/tasks.html#list", context)
    figures = project_figures.of(request.project)
    context |= {
        "figures": figures,
        "counts": project_figures.kind_counts(request.project, figures),
        "is_behind": bool(context["filters"].search) and search_index.is_behind(),
    }
    return render(request, "annotate/tasks.html", context, status=400 if refusal or form.errors else 200)


def _list(request: ProjectRequest) -> dict[str, Any]:
    """The page of tasks that the address asks for, and its filters."""
    filters = TaskFilters.of(request.project, request.GET.dict())
    before = request.GET.get("before", "")
    start = int(before) if re.fullmatch(r"[0-9]{1,18}", before) else None
    page = task_listing.page(filters, before=start)
    parameters = filters.parameters
    chips = [
        (chip, _query({key: value for key, value in parameters.items() if key != chip.name})) for chip in filters.chips
    ]
    fields = [(each, each.choices(request.project), filters.chosen.get(each.name, "")) for each in FILTERS]
    return {
        "filters": filters,
        "page": page,
        "chips": chips,
        "fields": [(each, choices, value) for each, choices, value in fields if each.free or choices or value],
        "first_url": _query(parameters) if start else "",
        "people": people(request.project),
        "people_who_judge": count_people_who_judge(request.project),
        "skills": request.project.skills.order_by("name"),
        "changes": request.project.task_changes.filter(state__in=TaskChange.UNFINISHED),
        "query": request.GET.urlencode(),
        "next_url": _query({**parameters, "before": str(page.before)}) if page.before is not None else "",
    }


def _query(parameters: dict[str, str]) -> str:
    return "?" + urlencode(parameters)
