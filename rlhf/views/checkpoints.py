"""Disk use of a project's runs, and the removal of old checkpoints."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.runs import estimates
from rlhf.runs.execution import machine
from rlhf.runs.storage import retention

MOST_ROWS = 200


class RetentionForm(forms.Form):
    """After how many days the checkpoints of an ended run may go."""

    days = forms.IntegerField(
        label=gettext_lazy("Days since the end of the run"),
        min_value=0,
        max_value=retention.MOST_DAYS,
        initial=retention.DEFAULT_DAYS,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def checkpoints(request: ProjectRequest) -> HttpResponse:
    """What would be removed for a number of days (?days=); a POST of the same number removes it."""
    sent = request.POST if request.method == "POST" else request.GET if "days" in request.GET else None
    form = RetentionForm(sent)
    is_valid = form.is_valid()
    days = form.cleaned_data["days"] if is_valid else retention.DEFAULT_DAYS
    if request.method == "POST" and is_valid:
        freed = retention.remove(retention.kept(request.project, days=days), by=request.user)
        messages.success(request, _("%(size)s of checkpoints were removed.") % {"size": filesizeformat(freed)})
        return redirect("rlhf:checkpoints", request.project.slug)
    found = retention.kept(request.project)
    ended_by = retention.ended_by(days)
    old = {item.run.pk for item in found if item.run.finished_at and item.run.finished_at <= ended_by}
    context = {
        "project": request.project,
        "form": form,
        "days": days,
        "rows": [{"kept": item, "goes": item.run.pk in old} for item in found[:MOST_ROWS]],
        "more": max(0, len(found) - MOST_ROWS),
        "total": sum(item.bytes for item in found),
        "freed": sum(item.bytes for item in found if item.run.pk in old),
        "disk_free": machine.disk_free(settings.HONE_DATA),
        "reserved": estimates.reserved_disk(),
    }
    return render(request, "rlhf/checkpoints.html", context, status=400 if sent is not None and not is_valid else 200)
