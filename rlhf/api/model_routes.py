"""Model versions."""

from datetime import datetime
from typing import Annotated, Any

from django.utils.translation import gettext as _
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, finite, page
from annotate.api.enumerations import IN_PLACE
from annotate.api.idempotency import HEADER, idempotent
from annotate.data.json_text import parsed
from annotate.errors import Refused
from annotate.people.permissions import Capability
from rlhf.api.run_routes import RunOut, run_out
from rlhf.model_registry import benchmarks
from rlhf.model_registry.benchmarks import KeptFile
from rlhf.models import ModelVersion, TrainingRun

router = Router(tags=["models"])


class ModelOut(Schema):
    id: int
    kind: str
    number: int
    label: str
    base_model: str
    active: bool
    sha256: str
    metrics: dict[str, Any]
    tags: list[str]
    created_at: datetime
    promoted_at: datetime | None


class ModelQuery(PageQuery):
    kind: Annotated[ModelVersion.Kind, IN_PLACE] | None = None
    active: bool | None = None


@router.get("/projects/{slug:slug}/models", response=Page[ModelOut], summary="Models")
@within_project(Capability.TRAIN)
def list_models(request: ApiRequest, wanted: Query[ModelQuery]) -> dict[str, Any]:
    found = ModelVersion.objects.filter(project=request.project)
    if wanted.kind:
        found = found.filter(kind=wanted.kind)
    if wanted.active is not None:
        found = found.filter(active=wanted.active)
    return page(found, wanted, _model)


@router.get("/projects/{slug:slug}/models/{int:version_id}", response=ModelOut, summary="A model")
@within_project(Capability.TRAIN)
def read_model(request: ApiRequest, version_id: int) -> dict[str, Any]:
    return _model(access.load(request, ModelVersion, pk=version_id))


@router.post(
    "/projects/{slug:slug}/models/{int:version_id}/benchmarks",
    response={201: RunOut},
    summary="Measure a model on a file",
    openapi_extra=HEADER,
)
@within_project(Capability.TRAIN)
def measure_model(
    request: ApiRequest,
    version_id: int,
    file: Annotated[UploadedFile, File(description="JSON lines or text, gzipped or not; see docs/registry.md.")],
    config: Annotated[str, Form(max_length=10_000, description="Settings of `evaluate`, a JSON object.")] = "",
) -> Status:
    """The measurement is a run of the stage `benchmark`: it is followed and cancelled as others are."""
    version = access.load(request, ModelVersion, pk=version_id)
    settings = parsed(config.encode()) if config else {}
    if not isinstance(settings, dict):
        raise Refused(_("config is a JSON object of settings."), status=400)
    with benchmarks.kept_file(version, file) as kept:
        reply: Status = _queue_measurement(request, kept=kept, settings=settings)
    if not getattr(request, "is_replay", False):
        benchmarks.publish(access.load(request, TrainingRun, pk=reply.value["id"]))
    return reply


@idempotent(atomic=True)
def _queue_measurement(request: ApiRequest, *, kept: KeptFile, settings: dict[str, Any]) -> Status:
    """With the reply of its key in one transaction, which the file is written before."""
    return Status(201, run_out(benchmarks.enqueue(kept, config=settings, by=request.user)))


def _model(version: ModelVersion) -> dict[str, Any]:
    copied = ("kind", "number", "label", "base_model", "active", "sha256", "tags", "created_at", "promoted_at")
    return {
        **{name: getattr(version, name) for name in copied},
        "id": version.pk,
        "metrics": finite(version.metrics),
    }
