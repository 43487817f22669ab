"""Runs: listed, read, started, cancelled, and their metrics."""

from datetime import datetime
from typing import Annotated, Any

from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, finite, page
from annotate.api.enumerations import IN_PLACE
from annotate.api.idempotency import HEADER, idempotent
from annotate.data import stored_messages
from annotate.models import Snapshot
from annotate.people import api_tokens
from annotate.people.permissions import Capability
from rlhf.models import ModelVersion, RunInput, RunMetric, Stage, TrainingRun
from rlhf.reports.run_table import RunFilters
from rlhf.runs import launch, runs

router = Router(tags=["runs"])
Role = RunInput.Role


class InputOut(Schema):
    role: str
    model: int
    label: str


class RunOut(Schema):
    id: int
    stage: str
    status: str
    progress: float
    activity: str
    config: dict[str, Any]
    options: dict[str, Any]
    seed: int
    snapshot: int | None
    inputs: list[InputOut]
    produced: int | None
    result: dict[str, Any]
    failure: str
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunQuery(PageQuery):
    stage: Stage | None = None
    status: Annotated[TrainingRun.Status, IN_PLACE] | None = None


class RunIn(Schema):
    """Inputs that aren't given have the stage's defaults; without a snapshot a new one is made."""

    model_config = ConfigDict(extra="forbid")
    stage: str = Field(max_length=10)
    config: dict[str, Any] = Field(default_factory=dict, max_length=200, description="Settings, see docs/runs.md.")
    inputs: dict[Role, int] = Field(default_factory=dict, description="{role: number of a model}")
    snapshot: int | None = None
    aggregation: str = Field("", max_length=9)
    corpus: str = Field("", max_length=200)
    ptx: str = Field("", max_length=200)
    prompts: int | None = Field(None, ge=1, le=10_000, description="For `sample`: number of prompts.")
    samples: int | None = Field(None, ge=1, le=100, description="For `sample`: responses to each prompt.")
    order: str = Field("", max_length=14, description="For `sample`: least_compared, newest or random.")


class MetricOut(Schema):
    """`value` is null where it was no finite number."""

    name: str
    step: int
    value: float | None


class MetricQuery(PageQuery):
    limit: int = Field(200, ge=1, le=1_000, description="Rows of a page.")
    name: str = Field("", max_length=60, pattern=r"^[^\x00]*$", description="Of this metric alone.")


@router.get("/projects/{slug:slug}/runs", response=Page[RunOut], summary="Runs, without those of chats")
@within_project(Capability.TRAIN)
def list_runs(request: ApiRequest, wanted: Query[RunQuery]) -> dict[str, Any]:
    filters = RunFilters(project=request.project, stage=wanted.stage or "", status=wanted.status or "")
    found = filters.runs().select_related("created_by").prefetch_related("run_inputs__version")
    return page(found, wanted, run_out)


@router.post("/projects/{slug:slug}/runs", response={201: RunOut}, summary="Start a run", openapi_extra=HEADER)
@within_project(Capability.TRAIN)
@idempotent(atomic=True)
def start_run(request: ApiRequest, data: RunIn) -> Status:
    """It waits in the queue; `GET …/runs/{id}` follows it."""
    names = ("stage", "config", "aggregation", "corpus", "ptx", "prompts", "samples", "order")
    given: dict[str, Any] = {name: getattr(data, name) for name in names}
    inputs = {role.value: access.load(request, ModelVersion, pk=number) for role, number in data.inputs.items()}
    if data.snapshot is not None:
        api_tokens.require_scope(request.auth, Capability.EXPORT)
        given["snapshot"] = access.load(request, Snapshot, pk=data.snapshot)
    ensemble = [inputs.pop(Role.ENSEMBLE.value)] if Role.ENSEMBLE.value in inputs else []
    found = launch.start(project=request.project, by=request.user, inputs=inputs, ensemble=ensemble, **given)
    return Status(201, run_out(found))


@router.get("/projects/{slug:slug}/runs/{int:run_id}", response=RunOut, summary="A run")
@within_project(Capability.TRAIN)
def read_run(request: ApiRequest, run_id: int) -> dict[str, Any]:
    return run_out(access.load(request, TrainingRun, pk=run_id))


@router.post("/projects/{slug:slug}/runs/{int:run_id}/cancel", response=RunOut, summary="Cancel a run")
@within_project(Capability.TRAIN)
def cancel_run(request: ApiRequest, run_id: int) -> dict[str, Any]:
    runs.request_cancel(run=access.load(request, TrainingRun, pk=run_id), by=request.user)
    return run_out(access.load(request, TrainingRun, pk=run_id))


@router.get("/projects/{slug:slug}/runs/{int:run_id}/metrics", response=Page[MetricOut], summary="Metrics of a run")
@within_project(Capability.TRAIN)
def list_metrics(request: ApiRequest, run_id: int, wanted: Query[MetricQuery]) -> dict[str, Any]:
    found = RunMetric.objects.filter(run=access.load(request, TrainingRun, pk=run_id))
    if wanted.name:
        found = found.filter(name=wanted.name)
    return page(found, wanted, lambda row: {"name": row.name, "step": row.step, "value": finite(row.value)})


def run_out(run: TrainingRun) -> dict[str, Any]:
    copied = ("stage", "status", "progress", "activity", "seed", "created_at", "started_at", "finished_at")
    return {
        **{name: getattr(run, name) for name in copied},
        **{name: finite(getattr(run, name)) for name in ("config", "options", "result")},
        "id": run.pk,
        "snapshot": run.snapshot_id,
        "inputs": [
            {"role": item.role, "model": item.version_id, "label": item.version.label} for item in run.run_inputs.all()
        ],
        "produced": run.produced_id,
        "failure": stored_messages.text(run.failure),
        "created_by": run.created_by.username if run.created_by else None,
    }
