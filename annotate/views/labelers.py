"""The page of one labeler in a project, for its managers."""

import re

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import access
from annotate.data import stored_messages
from annotate.forms.people import WorkRulesForm
from annotate.labeling.checks import thresholds
from annotate.models import Membership, User
from annotate.people.permissions import ROLE_CAPABILITIES, Capability, ProjectRequest, requires
from annotate.quality.dashboard import DAYS
from annotate.quality.labeler_page import LabelerPage, csv_rows
from annotate.rendering.csv_tables import csv_file, table_or_404

LATEST_ALERTS = 10


@require_safe
@requires(Capability.MANAGE)
def labeler(request: ProjectRequest, user_id: int) -> HttpResponse:
    """?days=7 chooses the period, ?csv=days gives the table of a chart."""
    person = access.load(request, User, pk=user_id)
    days = request.GET.get("days", "")
    page = LabelerPage(request.project, person, days=int(days) if re.fullmatch(r"[0-9]{1,3}", days) else 0)
    if name := request.GET.get("csv"):
        return csv_file(f"{request.project.slug}-{person.username}-{name}", table_or_404(csv_rows(page, name)))
    memberships = list(
        Membership.objects.filter(project=request.project, user=person).prefetch_related("skills").order_by("role")
    )
    judges = [each for each in memberships if Capability.LABEL in ROLE_CAPABILITIES[each.role]]
    context = {
        "project": request.project,
        "person": person,
        "memberships": memberships,
        "rules": judges[0] if judges else None,
        "paused_because": stored_messages.text(judges[0].paused_reason) if judges else "",
        "work_form": WorkRulesForm.of(judges[0]) if judges else None,
        "alerts": thresholds.listed(request.project, labeler=person, most=LATEST_ALERTS),
        "page": page,
        "periods": DAYS,
    }
    return render(request, "annotate/labeler.html", context)
