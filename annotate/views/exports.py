"""Taking data away: ask for a snapshot, see it being made, download its files."""

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.data import snapshots
from annotate.data.hub import dataset_pushes
from annotate.data.sharing import links
from annotate.data.sharing.redaction import Redactor
from annotate.data.snapshot_filters import Filters
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.forms.data_files import SnapshotForm
from annotate.models import DatasetPush, JudgmentRevision, Prompt, Snapshot
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.local_times import moment_text

SHOWN = 30
"""Snapshots on a page."""
State = Snapshot.State


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.EXPORT)
def exports(request: ProjectRequest) -> HttpResponse:
    form = SnapshotForm(request.POST or None, project=request.project)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form)
    wanted = form.cleaned_data
    if "preview" in request.POST:
        found = snapshots.preview_redaction(project=request.project, kind=wanted["kind"])
        return _page(request, form, preview=found)
    try:
        snapshots.request(
            project=request.project,
            kind=wanted["kind"],
            format=wanted["format"],
            tie_policy=wanted["tie_policy"],
            aggregation=wanted["aggregation"] or Snapshot.Aggregation.RAW,
            filters=form.filters,
            by=request.user,
        )
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form)
    messages.success(request, _("Asked for. It appears below as soon as it is made."))
    return redirect("annotate:exports", request.project.slug)


@require_safe
@requires(Capability.EXPORT)
def download(request: ProjectRequest, snapshot_id: int, name: str) -> FileResponse:
    snapshot = access.load(request, Snapshot, pk=snapshot_id)
    path = snapshots.path_of(snapshot, name)
    if path is None:
        raise Http404(_("The snapshot has no such file."))
    return FileResponse(path.open("rb"), as_attachment=True, filename=f"{request.project.slug}-{snapshot.pk}-{name}")


@require_POST
@requires(Capability.EXPORT)
def share(request: ProjectRequest, snapshot_id: int) -> HttpResponse:
    """Make a link that opens a snapshot for a number of days, or (`revoke`) close all that were made."""
    snapshot = access.load(request, Snapshot, pk=snapshot_id)
    form = SnapshotForm(None, project=request.project)
    days = request.POST.get("days", "")
    try:
        if "revoke" in request.POST:
            links.revoke_links(snapshot=snapshot, by=request.user)
            messages.success(request, _("Revoked: no link to this snapshot that was made until now opens any more."))
            return redirect("annotate:exports", request.project.slug)
        token = links.make_link(
            snapshot=snapshot, days=int(days) if re.fullmatch(r"[0-9]{1,3}", days) else 0, by=request.user
        )
    except Refused as refusal:
        return _page(request, form, refusal=refusal)
    address = request.build_absolute_uri(reverse("annotate:shared_snapshot", args=[token]))
    return _page(request, form, link=address, shared=snapshot)


@require_POST
@requires(Capability.EXPORT)
def push(request: ProjectRequest, snapshot_id: int) -> HttpResponse:
    """Ask for a snapshot to be pushed to a repository of a Hub."""
    snapshot = access.load(request, Snapshot, pk=snapshot_id)
    try:
        dataset_pushes.request(
            snapshot=snapshot,
            repository=request.POST.get("repository", "").strip(),
            private="private" in request.POST,
            token_variable=request.POST.get("token_variable", "").strip(),
            by=request.user,
        )
    except Refused as refusal:
        return _page(request, SnapshotForm(None, project=request.project), refusal=refusal)
    messages.success(request, _("Asked for. The push is shown with the snapshot."))
    return redirect("annotate:exports", request.project.slug)


def _page(
    request: ProjectRequest,
    form: SnapshotForm,
    *,
    preview: Redactor | None = None,
    link: str = "",
    shared: Snapshot | None = None,
    refusal: Refused | None = None,
) -> HttpResponse:
    pushes = Prefetch("pushes", DatasetPush.objects.order_by("-pk"))
    found = request.project.snapshots.select_related("created_by").prefetch_related(pushes)
    page = Paginator(found, SHOWN).get_page(request.GET.get("page"))
    shown = list(page)
    at_work = [push for snapshot in shown for push in snapshot.pushes.all() if push.state in DatasetPush.UNFINISHED]
    context: dict[str, Any] = {
        "project": request.project,
        "form": form,
        "preview": preview,
        "found_places": preview.found.total() if preview is not None else 0,
        "previewed": snapshots.PREVIEWED,
        "snapshots": [(snapshot, _in_words(snapshot)) for snapshot in shown],
        "page": page,
        "polled_url": reverse("annotate:exports", args=[request.project.slug]) + f"?page={page.number}",
        "link": link,
        "shared": shared,
        "link_days": links.DAYS,
        "refusal": refusal,
        "unfinished": bool(at_work) or any(item.state in (State.PENDING, State.BUILDING) for item in shown),
    }
    only_list = request.htmx and request.htmx.target == "snapshots"  # type: ignore[attr-defined]
    template = "annotate/exports.html#list" if only_list else "annotate/exports.html"
    return render(request, template, context, status=refusal.status if refusal else 400 if form.errors else 200)


def _in_words(snapshot: Snapshot) -> list[str]:
    """Its format, and what its filters leave out or change."""
    asked = Filters.checked(snapshot.filters)
    said = [_(EXPORTERS[snapshot.format].label)]
    if asked.after is not None:
        said.append(_("from %(time)s on") % {"time": moment_text(asked.after)})
    if asked.before is not None:
        said.append(_("before %(time)s") % {"time": moment_text(asked.before)})
    chosen: list[tuple[str, Sequence[str], Any]] = [
        (_("judged by"), asked.sources, JudgmentRevision.Source),
        (_("splits"), asked.splits, Prompt.Split),
        (_("use cases"), asked.use_cases, Prompt.UseCase),
    ]
    for label, values, every in chosen:
        if values and len(values) < len(every):
            said.append(f"{label}: {', '.join(str(every(value).label) for value in values)}")
    for label, names in (
        (_("labelers"), asked.labelers),
        (_("models"), asked.models),
        (_("languages"), asked.languages),
    ):
        if names:
            said.append(f"{label}: {', '.join(names)}")
    if asked.agreement is not None:
        said.append(_("agreement of at least %(share)s") % {"share": f"{asked.agreement:.0%}"})
    if asked.comments:
        said.append(_("with comments"))
    if asked.redact:
        said.append(_("personal data replaced"))
    return said
