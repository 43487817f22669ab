"""Model versions."""

from datetime import datetime
from typing import Any

from ninja import Query, Router, Schema

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, finite, page
from annotate.people.permissions import Capability
from rlhf.models import ModelVersion

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
    kind: ModelVersion.Kind | None = None
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


def _model(version: ModelVersion) -> dict[str, Any]:
    copied = ("kind", "number", "label", "base_model", "active", "sha256", "tags", "created_at", "promoted_at")
    return {
        **{name: getattr(version, name) for name in copied},
        "id": version.pk,
        "metrics": finite(version.metrics),
    }
