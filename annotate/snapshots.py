"""Snapshots: immutable, hashed files frozen from the database. Runs and exports read these, never live tables.

A snapshot lies in HONE_DATA/snapshots/<id>-<hash>/:
    rankings.train.jsonl, rankings.validation.jsonl, rankings.test.jsonl     (or demonstrations, prompts; or .parquet)
    README.md       the card: what the rows are, how many, how ties and names were treated
    manifest.json   the same for programs, with each file's rows, bytes and SHA-256
Frozen again from equal data, every file has the same bytes.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import audit, signals
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.models import Project, Snapshot, User
from annotate.permissions import Capability, ensure
from annotate.snapshot_card import card
from annotate.snapshot_rows import SPLITS, Filters, rows, selected

State = Snapshot.State
FOLDER = "snapshots"
ROWS_A_REPORT = 1_000
Progress = Callable[[float], None]


def request(
    *,
    project: Project,
    kind: str,
    by: User | None,
    format: str = "hone",
    filters: Mapping[str, Any] | None = None,
    tie_policy: str = Snapshot.TiePolicy.KEEP,
) -> Snapshot:
    """Ask for a snapshot; a job builds it. `by` None means that Hone itself or its operator asks.

    filters: see snapshot_rows.Filters. Raises NotYours, and Refused (400) for a wrong value.
    """
    snapshot = _requested(project=project, kind=kind, format=format, filters=filters, tie_policy=tie_policy, by=by)
    transaction.on_commit(lambda: signals.snapshot_requested.send_robust(sender=Snapshot, snapshot_id=snapshot.pk))
    return snapshot


def freeze(
    *,
    project: Project,
    kind: str,
    by: User | None = None,
    format: str = "hone",
    filters: Mapping[str, Any] | None = None,
    tie_policy: str = Snapshot.TiePolicy.KEEP,
    progress: Progress | None = None,
) -> Snapshot:
    """Request and build at once. Raises Refused when it fails, with the reason that the snapshot also keeps."""
    snapshot = _requested(project=project, kind=kind, format=format, filters=filters, tie_policy=tie_policy, by=by)
    snapshot = build(snapshot.pk, progress)
    if snapshot.state != State.READY:
        raise Refused(snapshot.error)
    return snapshot


def build(snapshot_id: int, progress: Progress | None = None) -> Snapshot:
    """Write the files of a requested snapshot; returns it READY, or FAILED with its reason.

    Built twice, it stays what it became first; begun by a process that died, it's built anew.
    """
    unfinished = Snapshot.objects.filter(pk=snapshot_id).exclude(state=State.READY)
    is_begun = unfinished.update(state=State.BUILDING, error="", progress=0.0)
    # Read after the claim: what was read before it may have become ready in between.
    snapshot = Snapshot.objects.select_related("project").get(pk=snapshot_id)
    if not is_begun:
        return snapshot
    failure = ""
    building = root() / f".building-{snapshot_id}-{secrets.token_hex(4)}"
    try:
        building.mkdir(parents=True)
        files, counts = _write(snapshot, building, progress)
        sha256 = _hash_of(files)
        folder = f"{FOLDER}/{snapshot_id}-{sha256[:12]}"
        _put_in_place(building, settings.HONE_DATA / folder)
        unfinished.update(
            state=State.READY,
            folder=folder,
            files=files,
            rows=counts["rows"],
            sha256=sha256,
            progress=1.0,
            finished_at=timezone.now(),
        )
    except (Refused, OSError) as error:
        failure = _reason(error)
        unfinished.update(state=State.FAILED, error=failure, finished_at=timezone.now())
    except BaseException as error:
        reason = f"It stopped with {type(error).__name__}."
        unfinished.update(state=State.FAILED, error=reason, finished_at=timezone.now())
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    snapshot.refresh_from_db()
    if failure and snapshot.state != State.READY:
        # Another builder may have begun anew and taken the reason away; this caller is told it nevertheless.
        snapshot.state, snapshot.error = State.FAILED, failure
    return snapshot


def verify(snapshot: Snapshot) -> tuple[str, ...]:
    """What is wrong with a snapshot's files, in sentences; nothing when every byte is as it was frozen."""
    if snapshot.state != State.READY:
        return ("The snapshot isn't ready.",)
    problems = []
    for name, known in snapshot.files.items():
        path = folder_of(snapshot) / name
        if not path.is_file():
            problems.append(f"{name} is missing.")
        elif _sha256(path) != known["sha256"]:
            problems.append(f"{name} isn't what was frozen.")
    if _hash_of(snapshot.files) != snapshot.sha256:
        problems.append("The list of files isn't what was frozen.")
    return tuple(problems)


def copy_out(snapshot: Snapshot, out: Path) -> list[Path]:
    """Copy a ready snapshot to where somebody wants it; what was written.

    out: a folder, made if need be, for all files; or, with a suffix such as .jsonl, one file that takes the rows of all
    splits, training first. Raises OSError.
    """
    if out.is_dir() or not out.suffix:
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(folder_of(snapshot) / name, out / name)) for name in snapshot.files]
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [path for split in SPLITS if (path := data_file(snapshot, split)).is_file()]
    EXPORTERS[snapshot.format].join(parts, out)
    return [out]


def root() -> Path:
    return Path(settings.HONE_DATA) / FOLDER


def folder_of(snapshot: Snapshot) -> Path:
    """Where a ready snapshot's files are."""
    return Path(settings.HONE_DATA) / snapshot.folder


def data_file(snapshot: Snapshot, split: str) -> Path:
    """The rows of one split of a ready snapshot."""
    return folder_of(snapshot) / file_name(snapshot, split)


def file_name(snapshot: Snapshot, split: str) -> str:
    return f"{snapshot.kind}.{split}{EXPORTERS[snapshot.format].suffix}"


def _requested(
    *, project: Project, kind: str, format: str, filters: Mapping[str, Any] | None, tie_policy: str, by: User | None
) -> Snapshot:
    if by is not None:
        ensure(by, Capability.EXPORT, project)
    for value, allowed, name in (
        (kind, Snapshot.Kind.values, "kind"),
        (format, list(EXPORTERS), "format"),
        (tie_policy, Snapshot.TiePolicy.values, "tie policy"),
    ):
        if value not in allowed:
            raise Refused(
                _("The %(name)s of a snapshot is one of %(allowed)s.") % {"name": name, "allowed": ", ".join(allowed)},
                status=400,
            )
    Filters.checked(filters or {})
    with transaction.atomic():
        snapshot = Snapshot.objects.create(
            project=project,
            kind=kind,
            format=format,
            filters=dict(filters or {}),
            tie_policy=tie_policy,
            created_by=by,
        )
        audit.record(
            verb="snapshot.requested", actor=by, subject=snapshot, project=project, kind=str(kind), format=format
        )
    return snapshot


def _write(
    snapshot: Snapshot, folder: Path, progress: Progress | None
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Write every file into the folder; the files with their hashes, and counts of rows for the card."""
    exporter = EXPORTERS[snapshot.format]
    splits = Filters.checked(snapshot.filters).splits
    expected = sum(records.count() for records in selected(snapshot))
    counts: Counter[str] = Counter(rows=0)
    written: Counter[str] = Counter()
    paths = {split: folder / file_name(snapshot, split) for split in SPLITS if split in splits}
    with ExitStack() as open_files:
        writers = {
            split: open_files.enter_context(exporter.open(path, kind=snapshot.kind)) for split, path in paths.items()
        }
        for number, (split, row) in enumerate(rows(snapshot), start=1):
            if number % ROWS_A_REPORT == 0:
                _report(snapshot, number / max(expected, number), progress)
            if row is None:
                counts["left_out_ties"] += 1
                continue
            counts["records"] += 1
            counts[f"records_{split}"] += 1
            for exported in exporter.rows(row, kind=snapshot.kind):
                writers[split].write(exported)
                written[split] += 1
    counts["rows"] = written.total()
    if not counts["rows"]:
        raise Refused(
            _("There are no %(kind)s yet that match, so there is nothing to freeze.") % {"kind": snapshot.kind}
        )
    files = {path.name: _file(path, written[split]) for split, path in paths.items()}
    (folder / "README.md").write_text(card(snapshot, files=files, counts=counts), encoding="utf-8")
    manifest = {
        "project": snapshot.project.slug,
        "kind": snapshot.kind,
        "format": snapshot.format,
        "filters": snapshot.filters,
        "tie_policy": snapshot.tie_policy,
        "counts": dict(sorted(counts.items())),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for name in ("README.md", "manifest.json"):
        files[name] = _file(folder / name, None)
    return files, counts


def _report(snapshot: Snapshot, done: float, progress: Progress | None) -> None:
    Snapshot.objects.filter(pk=snapshot.pk, state=State.BUILDING).update(progress=done)
    if progress is not None:
        progress(done)


def _file(path: Path, row_count: int | None) -> dict[str, Any]:
    return {"rows": row_count, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """One hash that stands for every file."""
    listed = sorted((name, known["sha256"]) for name, known in files.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _put_in_place(building: Path, folder: Path) -> None:
    """Make the folder appear as a whole, on the disk and not only in its cache, and read-only."""
    for path in building.iterdir():
        path.chmod(0o444)
        _sync(path)
    _sync(building)
    try:
        building.rename(folder)
    except OSError as error:
        # The same snapshot with the same bytes is there: a builder died after this step, or another was quicker.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "The disk is full. Make room and ask for the snapshot again."
        return f"The files can't be written: {error.strerror or str(error) or type(error).__name__}."
    return str(error)
