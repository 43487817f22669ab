"""Taking data away: ask for a snapshot, see it being made, download its files."""

from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate import access
from annotate.data import snapshots
from annotate.data.sharing.redaction import Redactor
from annotate.errors import Refused
from annotate.forms.data_files import SnapshotForm
from annotate.models import Snapshot
from annotate.people.permissions import Capability, ProjectRequest, requires

SHOWN = 30
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


def _page(request: ProjectRequest, form: SnapshotForm, *, preview: Redactor | None = None) -> HttpResponse:
    shown = list(request.project.snapshots.select_related("created_by")[:SHOWN])
    context: dict[str, Any] = {
        "project": request.project,
        "form": form,
        "preview": preview,
        "found_places": preview.found.total() if preview is not None else 0,
        "previewed": snapshots.PREVIEWED,
        "snapshots": shown,
        "unfinished": any(snapshot.state in (State.PENDING, State.BUILDING) for snapshot in shown),
    }
    only_list = request.htmx and request.htmx.target == "snapshots"  # type: ignore[attr-defined]
    template = "annotate/exports.html#list" if only_list else "annotate/exports.html"
    return render(request, template, context, status=400 if form.errors else 200)
