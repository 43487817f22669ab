"""Start, follow and cancel runs."""

from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.models import Project, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.csv_tables import csv_stream
from rlhf.loop.rounds import forecast
from rlhf.models import Stage, TrainingRun
from rlhf.reports import curves, labels, run_table, stop_reasons, stored
from rlhf.reports.page import verdict_of
from rlhf.reports.run_table import RunFilters, RunTable
from rlhf.reports.sample_comparison import SampleComparison, compare_samples
from rlhf.runs import launch, runs
from rlhf.runs.planning import provenance
from rlhf.runs.queues import waiting_order, workers
from rlhf.runs.stages.registry import LAUNCHABLE
from rlhf.runs.storage import run_artefacts
from rlhf.views.run_curves import charts_page, overlaid

MODELS_OFFERED = 200


@require_safe
@requires(Capability.TRAIN)
def training(request: ProjectRequest) -> HttpResponseBase:
    """The stages to start, and a table of the project's runs. Runs of live chats are listed apart."""
    filters = RunFilters.of(request.project, request.GET.dict())
    if request.GET.get("format") == "csv":
        return csv_stream(f"{request.project.slug}-runs", run_table.file_rows(filters))
    table = RunTable(
        filters=filters,
        sort=request.GET.get("sort", "run")[:80],
        descending=request.GET.get("order") != "up",
        after=row_number(request.GET.get("after", "")),
        chosen=[key[:80] for key in request.GET.getlist("column")],
    )
    query = request.GET.copy()
    query.pop("after", None)
    context = {
        "project": request.project,
        "table": table,
        "headings": _headings(table, query),
        "query": query.urlencode(),
        "filter_fields": _filter_fields(request.project, filters),
        "stages": LAUNCHABLE,
        "queues_without_worker": _queues_without_worker(table.runs),
        "going": any(not run.ended for run in table.runs),
        "live_turns": request.project.training_runs.filter(queue=TrainingRun.LIVE_QUEUE).count(),
    }
    return render(request, _fragment(request, "rlhf/training.html", "runs"), context)


def _headings(table: RunTable, query: QueryDict) -> list[dict[str, Any]]:
    """The columns' heads: label, the address that sorts by it, and how it is sorted now."""
    built_in = [
        ("run", _("Run")),
        ("stage", _("Stage")),
        ("status", _("Status")),
        ("", _("From")),
        ("", _("New model")),
    ]
    keys = [*built_in, *((column.key, column.label) for column in table.columns)]
    keys += [("seconds", _("Duration")), ("by", _("By"))]
    found = []
    for key, label in keys:
        is_sorted = key == table.sort
        address = query.copy()
        address["sort"] = key
        address["order"] = "up" if is_sorted and table.descending else "down"
        direction = ("descending" if table.descending else "ascending") if is_sorted else ""
        found.append({"label": label, "url": f"?{address.urlencode()}" if key else "", "direction": direction})
    return found


def _filter_fields(project: Project, filters: RunFilters) -> list[tuple[str, Any, list[Any], Any]]:
    """(name, label, choices, value) of each filter that is a list."""
    people = User.objects.filter(pk__in=project.training_runs.values("created_by")).order_by("username")
    versions = project.model_versions.order_by("-pk")[:MODELS_OFFERED]
    return [
        ("stage", _("Stage"), list(Stage.choices), filters.stage),
        ("status", _("Status"), list(TrainingRun.Status.choices), filters.status),
        ("model", _("Model"), [(version.pk, version.label) for version in versions], filters.model),
        ("by", _("By"), [(user.pk, user.display_name) for user in people], filters.by),
    ]


def _given(run: TrainingRun) -> dict[str, Any]:
    """Settings and options; of a measurement the settings of the run that it measures."""
    measured = run.options.get("config", {})
    return run.config | measured | {name: value for name, value in run.options.items() if name != "config"}


@require_safe
@requires(Capability.TRAIN)
def run(request: ProjectRequest, run_id: int) -> HttpResponse:
    """A run's page; htmx polls its live part while it runs."""
    found = access.load(request, TrainingRun, pk=run_id)
    result = curves.numbers(found.result)
    values = found.result if result else curves.latest(found)
    context = {
        "project": request.project,
        "run": found,
        "queues_without_worker": _queues_without_worker([found]),
        "headline": curves.headline(values),
        "numbers": result or curves.numbers(values),
        "is_latest": not result,
        "given": [(labels.of_name(name), value) for name, value in _given(found).items()],
        "notes": [*found.notes, *found.result.get("notes", [])],
        "can_be_resumed": found.ended and not runs.why_not_resumable(found),
        "checkpoint_step": run_artefacts.resumed_at(found) if found.ended else None,
        "stopped": stop_reasons.sentence(found),
        "has_report_file": found.stage == Stage.BENCHMARK and stored.has_file(found),
        "verdict": verdict_of(report) if (report := stored.load(found)) else None,
    }
    if found.status == TrainingRun.Status.RUNNING:
        context["ends"] = forecast.in_words(forecast.seconds_left(found))
    context["place"], context["in_queue"] = waiting_order.position(found)
    if request.headers.get("HX-Target") == "chart-grid":
        context["charts"] = charts_page(request, overlaid(request, found))
        return render(request, "rlhf/charts.html#chart-grid", context)
    if request.headers.get("HX-Target") == "live":
        reply = render(request, "rlhf/run.html#live", context)
        if found.ended:
            # What the run made, further down the page, is whole now.
            reply["HX-Trigger"] = "run-ended"
        return reply
    is_fragment = request.headers.get("HX-Target") == "made"
    samples = compare_samples(found)
    if is_fragment and not found.ended and request.GET.get("step") == _last_step(samples):
        return HttpResponse(status=204)
    context |= {"samples": samples, "has_plot": run_artefacts.shown(found).reward_kl_plot.is_file()}
    context |= {"origin": provenance.of(found), "can_be_cloned": launch.can_be_cloned(found)}
    if is_fragment:
        return render(request, "rlhf/run.html#made", context)
    context["charts"] = charts_page(request, overlaid(request, found))
    return render(request, "rlhf/run.html", context)


def _last_step(samples: SampleComparison | None) -> str:
    return str(samples.steps[-1]) if samples is not None else ""


@require_safe
@requires(Capability.TRAIN)
def reward_kl_plot(request: ProjectRequest, run_id: int) -> FileResponse:
    """reward_kl.svg as a download."""
    path = run_artefacts.shown(access.load(request, TrainingRun, pk=run_id)).reward_kl_plot
    try:
        file = path.open("rb")
    except OSError:
        raise Http404(_("This run has no such plot.")) from None
    return FileResponse(file, as_attachment=True, filename=f"reward-kl-run-{run_id}.svg", content_type="image/svg+xml")


@require_POST
@requires(Capability.TRAIN)
def cancel(request: ProjectRequest, run_id: int) -> HttpResponse:
    found = access.load(request, TrainingRun, pk=run_id)
    try:
        runs.request_cancel(run=found, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:run", request.project.slug, run_id)


@require_POST
@requires(Capability.TRAIN)
def resume(request: ProjectRequest, run_id: int) -> HttpResponse:
    found = access.load(request, TrainingRun, pk=run_id)
    try:
        runs.resume(run=found, by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:run", request.project.slug, run_id)


def _queues_without_worker(found: Any) -> list[str]:
    """Queues of waiting runs that no worker consumes."""
    waiting = {run.queue for run in found if run.status == TrainingRun.Status.QUEUED}
    return sorted(waiting - workers.listening()) if waiting else []


def _fragment(request: HttpRequest, template: str, name: str) -> str:
    """The page, or the partial that htmx requested."""
    return f"{template}#{name}" if request.headers.get("HX-Target") == name else template
