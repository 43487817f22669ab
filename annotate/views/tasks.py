"""A manager's page of tasks: which kinds labelers get, how many there are, and new ones."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from annotate.errors import Refused
from annotate.forms.tasks import KindsForm, NewTasksForm
from annotate.labeling import requested_tasks, task_kinds
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.people.projects import edit_project


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


def _page(request: ProjectRequest, *, form: NewTasksForm, refusal: str = "") -> HttpResponse:
    context = {
        "project": request.project,
        "form": form,
        "counts": requested_tasks.counts(request.project),
        "refusal": refusal,
    }
    return render(request, "annotate/tasks.html", context, status=400 if refusal or form.errors else 200)
