"""Model versions of a project: list, promote, roll back, sample."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.forms.sample_form import SampleForm
from rlhf.loop import promotions, sampling, versions
from rlhf.loop.promotions import Change
from rlhf.model_registry import tags
from rlhf.models import ModelVersion, Promotion
from rlhf.reports import curves, lineage, stored

CHANGES_SHOWN = 50


@require_safe
@requires(Capability.TRAIN)
def models(request: ProjectRequest) -> HttpResponse:
    project = request.project
    versions.base(project)
    found = project.model_versions.select_related("run", "promoted_by").prefetch_related("parents")
    all_tags = tags.of_project(project)
    # Few versions have tags, and a JSON column is searched by no database alike.
    tag = request.GET.get("tag", "") if request.GET.get("tag", "") in all_tags else ""
    changes = Promotion.objects.filter(version__project=project).select_related("version", "replaced", "by")
    rows = [
        {
            "version": version,
            "numbers": curves.headline(version.metrics),
            "before": versions.previous(version) if version.active else None,
            "report": version.run if hasattr(version, "run") and stored.exists(version.run) else None,
        }
        for version in found
        if not tag or tag in version.tags
    ]
    context = {
        "project": project,
        "may_manage": Capability.MANAGE in request.capabilities,
        "rows": rows,
        "tags": all_tags,
        "tag": tag,
        "policy": versions.active_policy(project),
        "lineage": lineage.of_project(project),
        "changes": changes.order_by("-pk")[:CHANGES_SHOWN],
        "form": SampleForm(initial={"prompts": sampling.DEFAULT_PROMPTS, "samples": project.responses_per_task}),
    }
    return render(request, "rlhf/models.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def promote(request: ProjectRequest, version_id: int) -> HttpResponse:
    """Confirmation page of a promotion (GET), and the promotion (POST)."""
    version = access.load(request, ModelVersion, pk=version_id)
    change = promotions.change_to(version)
    if version.active:
        messages.info(request, _("%(version)s is in use already.") % {"version": version.label})
        return redirect("rlhf:models", request.project.slug)
    if not _is_confirmed(request, change):
        return _confirmation(request, change, goes_back=False)
    versions.promote(version, by=request.user)
    messages.success(request, _("%(version)s is in use now.") % {"version": version.label})
    return redirect("rlhf:models", request.project.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def roll_back(request: ProjectRequest, version_id: int) -> HttpResponse:
    """Confirmation page of a rollback (GET), and the rollback (POST)."""
    version = access.load(request, ModelVersion, pk=version_id)
    before = versions.previous(version) if version.active else None
    try:
        if before is not None and not _is_confirmed(request, change := promotions.change_to(before)):
            return _confirmation(request, change, goes_back=True)
        before = versions.roll_back(version, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(before)s is in use again.") % {"before": before.label})
    return redirect("rlhf:models", request.project.slug)


def _is_confirmed(request: ProjectRequest, change: Change) -> bool:
    """Whether the form was sent from a page that showed the current version in use."""
    in_use = str(change.current.pk) if change.current is not None else ""
    return request.method == "POST" and request.POST.get("instead_of") == in_use


def _confirmation(request: ProjectRequest, change: Change, *, goes_back: bool) -> HttpResponse:
    is_stale = request.method == "POST"
    context = {
        "project": request.project,
        "change": change,
        "goes_back": goes_back,
        "action": request.path,
        "stale": is_stale and "instead_of" in request.POST,
    }
    return render(request, "rlhf/promote.html", context, status=409 if is_stale else 200)


@require_POST
@requires(Capability.TRAIN)
def sample(request: ProjectRequest) -> HttpResponse:
    """Queue a sampling run of the active policy."""
    form = SampleForm(request.POST)
    if not form.is_valid():
        messages.error(
            request,
            " ".join(f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()),
        )
        return redirect("rlhf:models", request.project.slug)
    chosen = form.cleaned_data
    try:
        run = sampling.start(
            project=request.project, by=request.user, prompt_count=chosen["prompts"], samples=chosen["samples"]
        )
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:models", request.project.slug)
    return redirect("rlhf:run", request.project.slug, run.pk)
