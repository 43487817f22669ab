"""A snapshot for whoever holds a link to it, signed in or not: what it is, and its files."""

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.data import snapshots
from annotate.data.sharing import links
from annotate.errors import Refused

PAGE = "annotate/shared_snapshot.html"


@require_safe
@never_cache
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """A link that isn't open gets a sentence as the reply (404)."""
    try:
        found = links.find(token)
    except Refused as refusal:
        return render(request, PAGE, {"refusal": refusal}, status=refusal.status)
    return render(request, PAGE, {"snapshot": found.snapshot, "until": found.until, "token": token})


@require_safe
@never_cache
def shared_file(request: HttpRequest, token: str, name: str) -> HttpResponseBase:
    """One file. Only names in the snapshot's own list are files of it."""
    try:
        snapshot = links.find(token).snapshot
    except Refused as refusal:
        return render(request, PAGE, {"refusal": refusal}, status=refusal.status)
    if (path := snapshots.path_of(snapshot, name)) is None:
        raise Http404(_("The snapshot has no such file."))
    return FileResponse(path.open("rb"), as_attachment=True, filename=f"{snapshot.project.slug}-{snapshot.pk}-{name}")
