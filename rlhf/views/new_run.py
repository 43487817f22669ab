"""The form of a new run: presets, a run to clone, and what the run would need."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate import access
from annotate.errors import Refused
from annotate.models import Project, User
from annotate.people.permissions import Capability, ProjectRequest, requires
from models_core.contract.settings import parse, presets, settings_of
from rlhf.forms.run_form import RunForm
from rlhf.models import ModelVersion, TrainingRun
from rlhf.reports import run_table
from rlhf.runs import estimates, launch
from rlhf.runs.planning import differences, durations, generated, measurements, train_rows
from rlhf.runs.queues import workers
from rlhf.runs.runs import training_queue
from rlhf.runs.stages.registry import LAUNCHABLE


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def new_run(request: ProjectRequest, stage: str) -> HttpResponse:
    """A form of the stage's inputs and settings. ?preset=NAME or ?clone=RUN fill it in; htmx requests its estimate."""
    if stage not in LAUNCHABLE:
        raise Http404(_("There is no such stage."))
    form = _form(request, stage)
    is_measured = request.method == "POST" and "measure" in request.POST
    is_estimate = request.headers.get("HX-Target") == "estimate" or "estimate" in request.POST or is_measured
    refused = _measure(form, by=request.user) if is_measured else ""
    if request.method == "POST" and not is_estimate and form.is_valid():
        try:
            first, *others = form.start(by=request.user)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            if others:
                return redirect("rlhf:training", request.project.slug)
            return redirect("rlhf:run", request.project.slug, first.pk)
    context = {"project": request.project, "form": form, "stage": stage, "plan": _plan(form, refused=refused)}
    if request.headers.get("HX-Target") == "estimate":
        return render(request, "rlhf/new_run.html#estimate", context)
    context |= {
        "title": LAUNCHABLE[stage].title,
        "preset": form["preset"].value(),
        "source": form["cloned_from"].value(),
        "queues_without_worker": sorted({training_queue()} - workers.listening()),
    }
    return render(request, "rlhf/new_run.html", context, status=400 if form.errors else 200)


def _measure(form: RunForm, *, by: User) -> str:
    """Start a measurement of a valid form's run; a sentence where it is refused."""
    if form.is_valid():
        try:
            form.measure(by=by)
        except Refused as error:
            return str(error)
    return ""


def _form(request: ProjectRequest, stage: str) -> RunForm:
    if request.method == "POST":
        return RunForm(request.POST, project=request.project, stage=stage)
    preset = request.GET.get("preset", "")
    if preset and preset not in presets.for_stage(stage):
        raise Http404(_("There is no such preset for this stage."))
    return RunForm(project=request.project, stage=stage, preset=preset, clone=_source(request, stage))


def _source(request: ProjectRequest, stage: str) -> TrainingRun | None:
    """The run that ?clone= names."""
    number = request.GET.get("clone", "")
    if not number:
        return None
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise Http404(_("There is no such run in this project."))
    found = access.load(request, TrainingRun, pk=int(number))
    if found.stage != stage:
        raise Http404(_("This run is of another stage."))
    if not launch.can_be_cloned(found):
        raise Http404(_("This run responds to what somebody asked for, and can’t be cloned."))
    return found


def _plan(form: RunForm, *, refused: str = "") -> dict[str, Any]:
    """What the page says of a run before it starts: its needs, a reason why it can't start, and what is changed.

    An unbound form is read as if its initial values had been sent.
    """
    bound = form if form.is_bound else form.sent_as_it_is()
    if not bound.is_valid():
        wrong = [field for field in bound if field.errors]
        return {"wrong": wrong, "problems": bound.non_field_errors()}
    try:
        models = bound.models()
        plan: dict[str, Any] = {
            "changes": differences.from_defaults(bound.stage, bound.config()),
            "from_clone": bound.changes_from_clone(),
        }
    except Refused as error:
        return {"problems": [str(error)]}
    given: dict[str, Any] = {"stage": bound.stage, "config": bound.config(), "queue": training_queue()}
    snapshot = bound.cleaned_data.get("snapshot")
    plan["needs"] = estimates.needs(models=models, snapshot=snapshot, **given)
    if bound.stage in generated.STAGES:
        rows = generated.expected(bound.project, stage=bound.stage, options=bound.cleaned_data)
    else:
        rows = train_rows.expected(
            bound.project,
            kind=bound.spec.snapshot,
            snapshot=snapshot,
            aggregation=bound.cleaned_data.get("aggregation") or "",
        )
    _add_time(plan, given, models=models, rows=rows)
    _add_measuring(plan, given, models=models, project=bound.project)
    problems = [refused] if refused else []
    try:
        estimates.refuse_impossible(models=models, snapshot=snapshot, **given)
        measurements.refuse_too_large(stage=bound.stage, config=given["config"], models=models)
    except Refused as error:
        problems.append(str(error))
    plan["problems"] = list(dict.fromkeys(problems))
    return plan


def _add_time(plan: dict[str, Any], given: dict[str, Any], *, models: list[ModelVersion], rows: int | None) -> None:
    """How long a step and the run take: by earlier runs of the shape, or by a measurement that is newer than they."""
    found = durations.expected(models=models, rows=rows, **given)
    measured = measurements.latest(models=models, **given)
    plan["measured"] = measured
    if measured is not None and (found is None or measured.run.pk > found.newest):
        seconds = measured.limit if measured.seconds_per_step is None else measured.seconds_per_step
        steps = estimates.steps_of(parse(settings_of(given["stage"]), given["config"]), rows)
        plan["measured_step"] = seconds
        plan["measured_total"] = None if steps is None else run_table.time_in_words(max(1.0, seconds * steps))
        return
    plan["duration"] = found
    if found is not None and found.total is not None:
        plan["time"] = [run_table.time_in_words(max(1.0, seconds)) for seconds in found.total]


def _add_measuring(
    plan: dict[str, Any], given: dict[str, Any], *, models: list[ModelVersion], project: Project
) -> None:
    """The measurement that waits or runs, why the last one failed, and why there can be none."""
    plan["measuring"] = measurements.unfinished(models=models, project=project, **given)
    plan["measuring_failed"] = measurements.newest_failure(models=models, project=project, **given)
    plan["not_measurable"] = measurements.why_not(given["stage"], given["config"])
