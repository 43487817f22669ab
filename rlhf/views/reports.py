"""The report of a reward model, as a page and as JSON."""

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate import access
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.csv_tables import csv_file, table_or_404
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.reports import stored
from rlhf.reports.page import page_of


@require_safe
@requires(Capability.TRAIN)
def report(request: ProjectRequest, run_id: int) -> HttpResponse:
    """?csv=groups gives the accuracies by group."""
    run = access.load(request, TrainingRun, pk=run_id, stage__in=stored.STAGES)
    found = stored.load(run)
    if found is None:
        raise Http404(_("This run left no report that can be read here."))
    page = page_of(found, project=request.project)
    if name := request.GET.get("csv"):
        rows = table_or_404(page.table(name))
        return csv_file(f"{request.project.slug}-run-{run.pk}-{name}", rows)
    context = {"project": request.project, "run": run, "page": page, "model": _measured(run)}
    return render(request, "rlhf/report.html", context)


@require_safe
@requires(Capability.TRAIN)
def report_file(request: ProjectRequest, run_id: int) -> FileResponse:
    """report.json as a download."""
    run = access.load(request, TrainingRun, pk=run_id, stage__in=stored.STAGES)
    if not (stored.has_file(run) if run.stage == Stage.BENCHMARK else stored.load(run)):
        raise Http404(_("This run left no report that can be read here."))
    name = f"{request.project.slug}-run-{run.pk}-report.json"
    return FileResponse(stored.path_of(run).open("rb"), as_attachment=True, filename=name)


def _measured(run: TrainingRun) -> ModelVersion | None:
    """The version that the report is on, where there is one."""
    if run.stage == Stage.REWARD:
        return run.produced
    return next((item.version for item in run.run_inputs.all()), None)
