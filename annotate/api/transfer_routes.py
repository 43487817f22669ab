"""Data in and out: rows that are imported, snapshots that are made and downloaded."""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import FileResponse, Http404
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, page
from annotate.api.enumerations import IN_PLACE
from annotate.api.idempotency import HEADER, idempotent
from annotate.data import rejected_rows, snapshots, stored_messages, uploads
from annotate.data.imports import ImportReport, import_file
from annotate.errors import Refused
from annotate.formats import EXPORTERS, IMPORTERS
from annotate.models import Snapshot, Upload
from annotate.people.permissions import Capability

router = Router(tags=["import and export"])
FILE_NAME = "api.jsonl"
MOST_ROWS = 20_000
MOST_SNAPSHOTS = 200
MOST_NOT_KEPT = 200


class ImportIn(Schema):
    """`rows`: as the lines of a file of the format; see docs/data.md."""

    model_config = ConfigDict(extra="forbid")
    rows: list[dict[str, Any]] = Field(min_length=1, max_length=MOST_ROWS)
    format: Literal[("auto", *IMPORTERS)] = "hone"  # type: ignore[valid-type]
    language: str = Field("", max_length=10, description="Take rows in it, and those that don't say theirs.")
    keep_tools: bool = False
    columns: dict[str, str] = Field(
        default_factory=dict, max_length=20, description="{field of Hone's rows: key}, of rows in no known format."
    )
    dry_run: bool = Field(False, description="Only say what would be imported.")


class NotKept(Schema):
    """`key`: its path in the rows; `reason` is empty where Hone has no place for it."""

    key: str
    reason: str
    rows: int


class ReportOut(Schema):
    """`rejected` names the file of the rows that were not taken, for a week; it is empty where all were."""

    read: int
    created: dict[str, int]
    duplicates: int
    left_out: dict[str, int]
    not_kept: list[NotKept]
    rejected: str
    rejected_rows: int
    errors: list[str]


class ImportOut(Schema):
    """`id` is null of rows that were imported at once."""

    id: int | None
    state: str
    progress: float
    summary: str
    report: ReportOut | None


class SnapshotIn(Schema):
    model_config = ConfigDict(extra="forbid")
    kind: Annotated[Snapshot.Kind, IN_PLACE]
    format: Literal[tuple(EXPORTERS)] = "hone"  # type: ignore[valid-type]
    tie_policy: Snapshot.TiePolicy = Snapshot.TiePolicy.KEEP
    aggregation: Snapshot.Aggregation = Snapshot.Aggregation.RAW
    filters: dict[str, Any] = Field(default_factory=dict, description="As in docs/data.md: splits, languages, …")


class FileOut(Schema):
    """`rows` is null of files that describe the others."""

    name: str
    rows: int | None
    bytes: int
    sha256: str


class SnapshotOut(Schema):
    id: int
    kind: str
    format: str
    tie_policy: str
    aggregation: str
    filters: dict[str, Any]
    state: str
    progress: float
    rows: int
    sha256: str
    files: list[FileOut]
    error: str
    created_at: datetime
    finished_at: datetime | None


class BrokenRows(Refused):
    """Nothing was imported."""

    status = 422

    def __init__(self, report: ImportReport) -> None:
        super().__init__(report.summary)
        self.errors = [{"field": "rows", "reason": error} for error in report.errors]


@router.post(
    "/projects/{slug:slug}/imports",
    response={200: ImportOut, 202: ImportOut},
    summary="Import prompts, responses, demonstrations or judgments",
    openapi_extra=HEADER,
)
@within_project(Capability.MANAGE)
@idempotent(atomic=False)
def import_rows(request: ApiRequest, data: ImportIn) -> Status:
    """All of the rows, or none and what is wrong with each. What is there already isn't made again.

    Many rows are imported in the background (202): `GET …/imports/{id}` says how far they are.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in data.rows)
    file = SimpleUploadedFile(FILE_NAME, lines.encode())
    options: dict[str, Any] = {"format": data.format, "language": data.language, "keep_tools": data.keep_tools}
    options["columns"] = data.columns or None
    if not uploads.is_small(file):
        options |= {"limit": None, "dry_run": data.dry_run}
        upload = uploads.keep(project=request.project, by=request.user, file=file, options=options)
        return Status(202, _upload(upload))
    with tempfile.NamedTemporaryFile(suffix=Path(FILE_NAME).suffix) as kept:
        kept.write(lines.encode())
        kept.flush()
        report = import_file(
            project=request.project,
            path=kept.name,
            by=request.user,
            dry_run=data.dry_run,
            name=FILE_NAME,
            wait=False,
            **options,
        )
    if report.errors:
        raise BrokenRows(report)
    return Status(200, _import(None, Upload.State.DONE, 1.0, report))


@router.get(
    "/projects/{slug:slug}/imports/rejected/{name}",
    summary="Rows of an import that were not taken",
    openapi_extra={"responses": {200: {"description": "JSON lines", "content": {"application/jsonl": {}}}}},
)
@within_project(Capability.MANAGE)
def download_rejected(request: ApiRequest, name: str) -> FileResponse:
    """JSON lines of `place`, `reason` and `row`."""
    path = rejected_rows.path_of(request.project, name)
    if path is None:
        raise Http404(_("The file of rows that were not taken is gone: it is kept for a week."))
    return FileResponse(path.open("rb"), content_type="application/jsonl")


@router.get("/projects/{slug:slug}/imports/{int:import_id}", response=ImportOut, summary="How far an import is")
@within_project(Capability.MANAGE)
def read_import(request: ApiRequest, import_id: int) -> dict[str, Any]:
    return _upload(access.load(request, Upload, pk=import_id))


@router.get("/projects/{slug:slug}/snapshots", response=Page[SnapshotOut], summary="Exports")
@within_project(Capability.EXPORT)
def list_snapshots(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    return page(Snapshot.objects.filter(project=request.project), wanted, _snapshot)


@router.post(
    "/projects/{slug:slug}/snapshots",
    response={202: SnapshotOut},
    summary="Ask for an export",
    openapi_extra=HEADER,
)
@within_project(Capability.EXPORT)
@idempotent(atomic=True)
def request_snapshot(request: ApiRequest, data: SnapshotIn) -> Status:
    """It is made in the background: `GET …/snapshots/{id}` says when it is ready."""
    wanted = data.model_dump()
    return Status(202, _snapshot(snapshots.request(project=request.project, by=request.user, **wanted)))


@router.get("/projects/{slug:slug}/snapshots/{int:snapshot_id}", response=SnapshotOut, summary="An export")
@within_project(Capability.EXPORT)
def read_snapshot(request: ApiRequest, snapshot_id: int) -> dict[str, Any]:
    return _snapshot(access.load(request, Snapshot, pk=snapshot_id))


@router.get(
    "/projects/{slug:slug}/snapshots/{int:snapshot_id}/files/{name}",
    summary="Download a file of an export",
    openapi_extra={"responses": {200: {"description": "The file", "content": {"application/octet-stream": {}}}}},
)
@within_project(Capability.EXPORT)
def download_file(request: ApiRequest, snapshot_id: int, name: str) -> FileResponse:
    snapshot = access.load(request, Snapshot, pk=snapshot_id)
    path = snapshots.path_of(snapshot, name)
    if path is None:
        raise Http404(_("The snapshot has no such file."))
    return FileResponse(path.open("rb"), as_attachment=True, filename=f"{request.project.slug}-{snapshot.pk}-{name}")


def _upload(upload: Upload) -> dict[str, Any]:
    found = _import(upload.pk, upload.state, upload.progress, uploads.report_of(upload))
    return found | {"summary": found["summary"] or upload.error}


def _import(number: int | None, state: str, progress: float, report: ImportReport | None) -> dict[str, Any]:
    copied = ("read", "created", "duplicates", "left_out", "rejected", "rejected_rows")
    return {
        "id": number,
        "state": str(state),
        "progress": progress,
        "summary": report.summary if report else "",
        "report": {
            **{name: getattr(report, name) for name in copied},
            "errors": list(report.errors),
            "not_kept": [
                {"key": key, "reason": reason, "rows": rows}
                for (key, reason), rows in report.not_kept.most_common(MOST_NOT_KEPT)
            ],
        }
        if report
        else None,
    }


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    copied = ("kind", "format", "tie_policy", "aggregation", "filters", "state", "progress", "rows", "sha256")
    return {
        **{name: getattr(snapshot, name) for name in (*copied, "created_at", "finished_at")},
        "id": snapshot.pk,
        "files": [{"name": name, **about} for name, about in snapshot.files.items()],
        "error": stored_messages.text(snapshot.failure) or snapshot.error,
    }
