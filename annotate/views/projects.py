"""A project's settings and guidelines, and a new project."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.errors import Refused
from annotate.forms.project import CopyForm, ProjectForm
from annotate.labeling.sensitive_content import visibility
from annotate.models import Guidelines, OverlapChange, User
from annotate.people.guidelines import between, changes_since_last_work
from annotate.people.permissions import Capability, ProjectRequest, can_create_projects, requires
from annotate.people.project_copies import copy_project
from annotate.people.project_templates import TEMPLATES
from annotate.people.projects import create_project, edit_project, overlap_warning


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def new(request: HttpRequest) -> HttpResponse:
    if not (isinstance(request.user, User) and can_create_projects(request.user)):
        raise PermissionDenied(_("Only managers and administrators open projects."))
    template = TEMPLATES.get(request.POST.get("template") or request.GET.get("template", ""))
    if request.method == "POST":
        form = ProjectForm(request.POST)
    else:
        form = ProjectForm.of_template(template) if template else ProjectForm()
    if request.method == "POST" and form.is_valid():
        values = form.changes | ({"task_kinds": list(template.task_kinds)} if template else {})
        try:
            project = create_project(by=request.user, **values)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(
                request, _("%(project)s is open. Invite labelers next, and import prompts.") % {"project": project.name}
            )
            return redirect("annotate:people", project.slug)
    context = {"form": form, "templates": TEMPLATES.values(), "chosen": template}
    return render(request, "annotate/project_form.html", context, status=400 if form.errors else 200)


@require_POST
@requires(Capability.MANAGE)
def copy(request: ProjectRequest) -> HttpResponse:
    """Open a project like this one; the form is on its settings page."""
    copy_form = CopyForm(request.POST)
    if copy_form.is_valid():
        try:
            made = copy_project(project=request.project, by=request.user, **copy_form.cleaned_data)
        except Refused as refusal:
            copy_form.add_error(None, str(refusal))
        else:
            messages.success(
                request,
                _("%(project)s is open with the settings of %(other)s. Import prompts next.")
                % {"project": made.name, "other": request.project.name},
            )
            return redirect("annotate:settings", made.slug)
    return _settings_page(request, ProjectForm.of(request.project), copy_form)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def settings(request: ProjectRequest) -> HttpResponse:
    if "archive" in request.POST:
        return _archive(request, closed=request.POST["archive"] == "yes")
    if request.htmx and request.method != "POST":  # type: ignore[attr-defined]
        return render(request, "annotate/settings.html#overlap", _overlap(request))
    form = ProjectForm.of(request.project, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = edit_project(project=request.project, by=request.user, **form.changes)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("Saved."))
            if warning := overlap_warning(project):
                messages.warning(request, warning)
            return redirect("annotate:settings", request.project.slug)
    return _settings_page(request, form, CopyForm(initial={"name": _copy_name(request)}))


def _settings_page(request: ProjectRequest, form: ProjectForm, copy_form: CopyForm) -> HttpResponse:
    context = {
        "form": form,
        "copy_form": copy_form,
        "may_create": can_create_projects(request.user),
        **_overlap(request),
        "guidelines": request.project.guidelines,
        "rubric": request.project.rubric,
    }
    return render(request, "annotate/settings.html", context, status=400 if form.errors or copy_form.errors else 200)


def _copy_name(request: ProjectRequest) -> str:
    return (_("Copy of %(project)s") % {"project": request.project.name})[:120]


def _overlap(request: ProjectRequest) -> dict[str, Any]:
    """The last change of the overlap, for the fragment that says how far it is."""
    change = request.project.overlap_changes.exclude(state=OverlapChange.State.REPLACED).first()
    return {
        "project": request.project,
        "overlap_change": change,
        "under_way": change is not None and change.state in OverlapChange.UNFINISHED,
    }


def _archive(request: ProjectRequest, *, closed: bool) -> HttpResponse:
    edit_project(project=request.project, by=request.user, archived=closed)
    messages.success(
        request, _("The project is closed: no more tasks are given out.") if closed else _("The project is open again.")
    )
    return redirect("annotate:settings", request.project.slug)


@require_safe
@requires(Capability.VIEW)
def guidelines(request: ProjectRequest) -> HttpResponse:
    """The guidelines with what is new to the reader; an earlier version (?version=2); what changed since (?since=2)."""
    versions = request.project.guidelines_versions.all()
    shown, since = (_version(versions, request.GET.get(name, "")) for name in ("version", "since"))
    newest = versions.first()
    if since is not None and newest is not None:
        changes = between(since, newest)
    else:
        changes = None if shown else changes_since_last_work(labeler=request.user, project=request.project)
    context = {
        "project": request.project,
        "shown": shown or newest,
        "versions": versions,
        "changes": changes,
        "changes_are_new": since is None,
        "comparing": since is not None,
        "promise": visibility.rule_statement(request.project),
        "may_manage": Capability.MANAGE in request.capabilities,
    }
    return render(request, "annotate/guidelines.html", context)


def _version(versions: QuerySet[Guidelines], wanted: str) -> Guidelines | None:
    return versions.filter(version=int(wanted)).first() if wanted.isdecimal() and len(wanted) < 9 else None
