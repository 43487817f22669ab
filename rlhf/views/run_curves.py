"""Curves of runs: what their charts show, their numbers as JSON and as CSV."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate import access
from annotate.data.text import query_value, row_number
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering.csv_tables import csv_file, csv_stream
from rlhf.models import Stage, TrainingRun
from rlhf.reports import curves, metric_groups, run_table
from rlhf.reports.curves import Steps
from rlhf.reports.metric_groups import Group
from rlhf.runs.execution.monitoring import system_metrics

MOST_RUNS = 8
"""Runs in one chart: there are that many colours."""
LONGEST_SEARCH = 60


@dataclass(frozen=True, kw_only=True)
class ChartsPage:
    """The charts of a page, and how they are shown, as its address says."""

    runs: Sequence[TrainingRun]
    groups: Sequence[Group]
    others: Sequence[TrainingRun]
    """Runs that may be drawn over them."""
    compared: Sequence[TrainingRun]
    """The runs that the address names with `run`, on the page that compares runs."""
    steps: Steps
    smoothing: float
    log: bool
    words: str

    @property
    def main(self) -> TrainingRun:
        return self.runs[0]

    @property
    def has_reward_kl(self) -> bool:
        return len(self.runs) == 1 and self.main.stage == Stage.PPO

    @property
    def as_json(self) -> str:
        """The runs for the script."""
        return json.dumps([{"id": run.pk, "label": _("run %(number)s") % {"number": run.pk}} for run in self.runs])

    @property
    def others_query(self) -> str:
        """The further runs, to be added to the query of a file."""
        return urlencode([("with", run.pk) for run in self.runs[1:]])


def charts_page(request: HttpRequest, runs: Sequence[TrainingRun], *, is_comparison: bool = False) -> ChartsPage:
    """The charts of these runs. On the page of one run others can be drawn over it."""
    names = dict.fromkeys(name for run in runs for name in curves.names_of(run))
    stages = {run.stage for run in runs}
    groups = metric_groups.group(names, stage=stages.pop() if len(stages) == 1 else "")
    if not is_comparison and (system := metric_groups.of_system(system_metrics.names(runs[0]))):
        groups = [*groups, system]
    return ChartsPage(
        runs=runs,
        groups=groups,
        others=[] if is_comparison else list(curves.others_with_curves(runs[0])),
        compared=runs if is_comparison else [],
        steps=steps_of(request),
        smoothing=_share(request.GET.get("smooth", "")),
        log=request.GET.get("log") == "1",
        words=query_value(request.GET, "q", longest=LONGEST_SEARCH),
    )


def overlaid(request: ProjectRequest, first: TrainingRun) -> list[TrainingRun]:
    """The run of the page, and those that the address lays over it with `with`. 404 where one is not the project's."""
    numbers = _run_numbers(request, "with")
    wanted = [number for number in numbers if number != first.pk][: MOST_RUNS - 1]
    return [first, *(access.load(request, TrainingRun, pk=number) for number in wanted)]


def steps_of(request: HttpRequest) -> Steps:
    return Steps(low=_step(request.GET.get("low", "")), high=_step(request.GET.get("high", "")))


@require_safe
@requires(Capability.TRAIN)
def metrics(request: ProjectRequest, run_id: int) -> JsonResponse:
    """{"series": {run: {name: columns}}, "names": [name, ...], "ended": bool, "reward_kl": ...}.

    `series` has the metrics that the query names with `name`, or all of them, as `curves.Series` has them;
    `reward_kl` is PPO's, see `curves.reward_kl_curve`.
    """
    found = overlaid(request, access.load(request, TrainingRun, pk=run_id))
    wanted = _names(request) if "name" in request.GET else None
    steps = steps_of(request)
    names = dict.fromkeys(name for run in found for name in curves.names_of(run))
    reply: dict[str, Any] = {
        "series": {str(run.pk): curves.series(run, wanted, steps=steps) for run in found},
        "names": list(names),
        "ended": all(run.ended for run in found),
    }
    if len(found) == 1 and found[0].stage == Stage.PPO:
        reply["reward_kl"] = curves.reward_kl_curve(found[0])
    return JsonResponse(reply)


@require_safe
@requires(Capability.TRAIN)
def metrics_file(request: ProjectRequest, run_id: int) -> HttpResponseBase:
    """Every value as CSV: of the metrics that the query names with `name`, or of all."""
    found = overlaid(request, access.load(request, TrainingRun, pk=run_id))
    rows = curves.rows(found, _names(request), steps=steps_of(request))
    return csv_stream(f"run-{run_id}-metrics", _with_head(("run", "metric", "step", "value"), rows))


@require_safe
@requires(Capability.TRAIN)
def system(request: ProjectRequest, run_id: int) -> JsonResponse:
    """{"series": {name: [minutes, values]}} of the machine while the run went on."""
    return JsonResponse({"series": system_metrics.series(access.load(request, TrainingRun, pk=run_id))})


@require_safe
@requires(Capability.TRAIN)
def system_file(request: ProjectRequest, run_id: int) -> HttpResponseBase:
    """The machine while the run went on, as CSV."""
    found = system_metrics.series(access.load(request, TrainingRun, pk=run_id))
    rows = ((name, *point) for name, columns in found.items() for point in zip(*columns, strict=True))
    return csv_file(f"run-{run_id}-system", [("metric", "minute", "value"), *rows])


@require_safe
@requires(Capability.TRAIN)
def compare(request: ProjectRequest) -> HttpResponseBase:
    """Several runs: their differing settings, their results, and their curves over each other."""
    numbers = _run_numbers(request, "run")
    found = [access.load(request, TrainingRun, pk=number) for number in numbers[:MOST_RUNS]]
    context: dict[str, Any] = {"project": request.project, "runs": found, "left_out": max(0, len(numbers) - MOST_RUNS)}
    if found:
        context |= {
            "charts": charts_page(request, found, is_comparison=True),
            "differences": run_table.differences(found),
            "results": run_table.results(found),
        }
    is_grid = bool(found) and request.headers.get("HX-Target") == "chart-grid"
    return render(request, "rlhf/charts.html#chart-grid" if is_grid else "rlhf/compare.html", context)


def _with_head(head: tuple[str, ...], rows: Any) -> Any:
    yield head
    yield from rows


def _run_numbers(request: HttpRequest, name: str) -> list[int]:
    """The runs that the query names, each once."""
    numbers = map(row_number, request.GET.getlist(name))
    return list(dict.fromkeys(number for number in numbers if number is not None))


def _names(request: HttpRequest) -> list[str]:
    """Metrics that the query names. PostgreSQL takes no NUL, which no name of a metric holds."""
    return [name[:60] for name in request.GET.getlist("name") if name and "\0" not in name]


def _step(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return min(0.99, max(0.0, found)) if found == found else 0.0
