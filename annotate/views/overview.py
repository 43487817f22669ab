"""A project's dashboard: the week against the plan, backlog, agreement, what waits, and who works how."""

import re

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.dashboard import DAYS, Dashboard, csv_rows, spark_points
from annotate.rendering.csv_tables import csv_file, table_or_404


@require_safe
@requires(Capability.VIEW)
def overview(request: ProjectRequest) -> HttpResponse:
    """The address of a project. Labelers, who judge blind, are led to their work instead of the figures.

    ?days=7 chooses the period, ?csv=days gives the table of a chart.
    """
    if Capability.SEE_DATA not in request.capabilities:
        return redirect("annotate:work", request.project.slug)
    days = request.GET.get("days", "")
    dashboard = Dashboard(
        request.project, days=int(days) if re.fullmatch(r"[0-9]{1,3}", days) else 0, reader=request.user
    )
    if name := request.GET.get("csv"):
        return csv_file(f"{request.project.slug}-{name}", table_or_404(csv_rows(dashboard, name)))
    context = {
        "project": request.project,
        "dashboard": dashboard,
        "periods": DAYS,
        "sparks": [(row, spark_points(row.spark)) for row in dashboard.rows],
        "may_manage": Capability.MANAGE in request.capabilities,
        "may_train": Capability.TRAIN in request.capabilities,
    }
    return render(request, "annotate/overview.html", context)
