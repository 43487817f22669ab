"""Snapshots: immutable, hashed files frozen from the database. Runs and exports read these, never live tables.

A snapshot lies in HONE_DATA/snapshots/<id>-<hash>/, and on the storage of HONE_ARTEFACTS if there is one:
    rankings.train.jsonl, rankings.validation.jsonl, rankings.test.jsonl     (or demonstrations, prompts; or .parquet)
    README.md       the card: what the rows are, how many, how ties and names were treated
    manifest.json   the same for programs, with each file's rows, bytes and SHA-256
Frozen again from equal data, every file has the same bytes.
"""

import errno
import gc
import hashlib
import json
import os
import secrets
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.artefacts import folders, local_folders
from annotate.data import snapshot_aggregation, stored_messages
from annotate.data.pacing import no_garbage_collection
from annotate.data.sharing.redaction import Redactor, redacted
from annotate.data.sharing.statistics import Statistics
from annotate.data.snapshot_card import card
from annotate.data.snapshot_filters import SPLITS, Filters
from annotate.data.snapshot_rows import rows
from annotate.data.snapshot_selection import mean_agreement, selected
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.models import JudgmentRevision, Project, Snapshot, User
from annotate.models.leased_job import was_long_ago
from annotate.people import audit, event_outbox
from annotate.people.permissions import Capability, ensure

State = Snapshot.State
FOLDER = "snapshots"
HUMAN = JudgmentRevision.Source.HUMAN.value
LEASE = timedelta(seconds=60)
"""A builder that says nothing for so long is taken for dead, and another one begins anew."""
PREVIEWED = 500
"""Records of which a preview of redaction looks at the texts."""
ROWS_A_COLLECTION = 100_000
REPORT_SECONDS = 1.0
MOST_FILES = 20
"""Named in the event of a snapshot; no format makes so many."""
WAIT_SECONDS = 0.2
Progress = Callable[[float], None]


def request(
    *,
    project: Project,
    kind: str,
    by: User | None,
    format: str = "hone",
    filters: Mapping[str, Any] | None = None,
    tie_policy: str = Snapshot.TiePolicy.KEEP,
    aggregation: str = Snapshot.Aggregation.RAW,
) -> Snapshot:
    """Ask for a snapshot; a job builds it. `by` None means that Hone itself or its operator asks.

    filters: see snapshot_rows.Filters. aggregation: see snapshot_aggregation. Raises NotYours, and Refused (400) for a
    wrong value.
    """
    asked: dict[str, Any] = {
        "kind": kind,
        "format": format,
        "filters": filters,
        "tie_policy": tie_policy,
        "aggregation": aggregation,
    }
    snapshot = _requested(project=project, by=by, **asked)
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
    aggregation: str = Snapshot.Aggregation.RAW,
    progress: Progress | None = None,
) -> Snapshot:
    """Request and build at once. Raises Refused when it fails, with the reason that the snapshot also keeps."""
    asked: dict[str, Any] = {
        "kind": kind,
        "format": format,
        "filters": filters,
        "tie_policy": tie_policy,
        "aggregation": aggregation,
    }
    snapshot = _requested(project=project, by=by, **asked)
    snapshot = build(snapshot.pk, progress)
    if snapshot.state != State.READY:
        raise Refused(snapshot.error, message=snapshot.failure or None)
    return snapshot


def build(snapshot_id: int, progress: Progress | None = None, *, wait: bool = True) -> Snapshot:
    """Write the files of a requested snapshot; returns it READY, or FAILED with its reason.

    One builder is at work at a time. Another one waits for it, and takes over when its lease runs out because it died;
    without `wait` it leaves the snapshot to the first and returns it as it is. A ready snapshot stays what it is.
    `progress` is called about once a second, while waiting too.
    """
    builder = _Builder(snapshot_id=snapshot_id, token=uuid.uuid4(), progress=progress)
    # One that has failed is tried again when somebody asks anew, not by those who waited for it.
    claimable = [State.PENDING, State.FAILED]
    while not builder.claim(claimable):
        claimable = [State.PENDING]
        snapshot = Snapshot.objects.get(pk=snapshot_id)
        if snapshot.state in (State.READY, State.FAILED) or not wait:
            return snapshot
        builder.report_progress(snapshot.progress)
        time.sleep(WAIT_SECONDS)
    return builder.build()


def abandoned(*, now: datetime) -> QuerySet[Snapshot]:
    """Snapshots whose builder died, or which nobody began to build a minute after they were requested."""
    unclaimed = was_long_ago("created_at", now=now, after=LEASE) & Q(state=State.PENDING)
    return Snapshot.objects.filter(unclaimed | Q(state=State.BUILDING) & _lease_is_over(now))


class _BuildLost(Exception):
    """Another builder has taken over: this one was silent for longer than its lease."""


def _lease_is_over(now: datetime) -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=now)


@dataclass(kw_only=True)
class _Builder:
    """One attempt to build a snapshot. Every write carries its token, so that a builder taken for dead writes nothing.

    Nothing is written while a cursor is open (see snapshot_rows), and no write is longer than one row.
    """

    snapshot_id: int
    token: uuid.UUID
    progress: Progress | None
    reported: float = field(default_factory=time.monotonic)

    def claim(self, states: list[State]) -> bool:
        now = timezone.now()
        free = Q(state__in=states) | Q(state=State.BUILDING) & _lease_is_over(now)
        claimed = Snapshot.objects.filter(free, pk=self.snapshot_id)
        values = {"state": State.BUILDING, "error": "", "failure": {}, "progress": 0.0}
        return claimed.update(**values, builder=self.token, lease_until=now + LEASE) == 1

    def build(self) -> Snapshot:
        # Read after the claim, in which nobody else changes it.
        snapshot = Snapshot.objects.select_related("project").get(pk=self.snapshot_id)
        building = root() / f".building-{self.snapshot_id}-{secrets.token_hex(4)}"
        try:
            building.mkdir(parents=True)
            files, counts = _write(snapshot, building, self.report)
            sha256 = _hash_of(files)
            folder = f"{FOLDER}/{self.snapshot_id}-{sha256[:12]}"
            _put_in_place(building, settings.HONE_DATA / folder)
            folders.publish(folder, heartbeat=lambda: self.report(1.0))
            done = {"folder": folder, "files": files, "rows": counts["rows"], "sha256": sha256, "progress": 1.0}
            self._end(state=State.READY, **done)
        except _BuildLost:
            return build(self.snapshot_id, self.progress)
        except (Refused, OSError) as error:
            return self._failed(_reason(error))
        except SystemExit:
            # Its worker is told to stop: the next one that looks begins anew.
            self._rows().update(state=State.PENDING, builder=None, lease_until=None, progress=0.0)
            raise
        except BaseException as error:
            self._failed(StoredMessage("job_crashed", {"error": type(error).__name__}).as_json())
            raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
        snapshot.refresh_from_db()
        return snapshot

    def report(self, done: float) -> None:
        """Say about once a second that the builder is alive, and how far. Raises _BuildLost."""
        if time.monotonic() - self.reported < REPORT_SECONDS:
            return
        self._change(progress=done, lease_until=timezone.now() + LEASE)
        self.report_progress(done)

    def report_progress(self, done: float) -> None:
        """Pass on how far the snapshot is, about once a second."""
        if time.monotonic() - self.reported >= REPORT_SECONDS:
            self.reported = time.monotonic()
            if self.progress is not None:
                self.progress(done)

    def _change(self, **values: Any) -> None:
        if not self._rows().update(**values):
            raise _BuildLost

    def _end(self, **values: Any) -> None:
        with transaction.atomic():
            self._change(finished_at=timezone.now(), builder=None, lease_until=None, **values)
            self._tell(event_outbox.SNAPSHOT_READY)

    def _failed(self, failure: dict[str, Any]) -> Snapshot:
        """End as failed, and say why even where another builder has begun anew and taken the reason away."""
        ended = {"finished_at": timezone.now(), "builder": None, "lease_until": None}
        reason = stored_messages.in_english(failure)
        with transaction.atomic():
            if self._rows().update(state=State.FAILED, error=reason, failure=failure, **ended):
                self._tell(event_outbox.SNAPSHOT_FAILED)
        snapshot = Snapshot.objects.select_related("project").get(pk=self.snapshot_id)
        if snapshot.state != State.READY:
            snapshot.state, snapshot.error, snapshot.failure = State.FAILED, reason, failure
        return snapshot

    def _tell(self, event: str) -> None:
        snapshot = Snapshot.objects.get(pk=self.snapshot_id)
        copied = {name: getattr(snapshot, name) for name in ("kind", "format", "rows", "sha256")}
        files = [{"name": name, **about} for name, about in snapshot.files.items()]
        error = {"error": snapshot.error} if snapshot.error else {}
        event_outbox.record(
            event, project=snapshot.project_id, snapshot=snapshot.pk, **copied, files=files[:MOST_FILES], **error
        )

    def _rows(self) -> QuerySet[Snapshot]:
        return Snapshot.objects.filter(pk=self.snapshot_id, state=State.BUILDING, builder=self.token)


def verify(snapshot: Snapshot) -> tuple[StoredMessage, ...]:
    """Problems of a snapshot's files; none when every byte is as it was frozen."""
    if snapshot.state != State.READY:
        return (StoredMessage("snapshot_not_ready"),)
    problems = []
    for name, known in snapshot.files.items():
        path = folder_of(snapshot) / name
        if not path.is_file():
            problems.append(StoredMessage("snapshot_file_missing", {"file": name}))
        elif _sha256(path) != known["sha256"]:
            problems.append(StoredMessage("snapshot_file_changed", {"file": name}))
    if _hash_of(snapshot.files) != snapshot.sha256:
        problems.append(StoredMessage("snapshot_list_changed"))
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


def folder_of(snapshot: Snapshot, *, heartbeat: Callable[[], None] = local_folders.silent) -> Path:
    """Where a ready snapshot's files are, fetched from the storage if need be. Raises StorageFault."""
    return folders.ensure(snapshot.folder, heartbeat=heartbeat)


def path_of(snapshot: Snapshot, name: str) -> Path | None:
    """One file of a ready snapshot; None where there is none. Only names in its own list are files of it."""
    if snapshot.state != State.READY or not snapshot.folder or name not in snapshot.files:
        return None
    path = folder_of(snapshot) / name
    return path if path.is_file() else None


def data_file(snapshot: Snapshot, split: str) -> Path:
    """The rows of one split of a ready snapshot."""
    return folder_of(snapshot) / file_name(snapshot, split)


def file_name(snapshot: Snapshot, split: str) -> str:
    return f"{snapshot.kind}.{split}{EXPORTERS[snapshot.format].suffix}"


def _requested(
    *,
    project: Project,
    kind: str,
    format: str,
    filters: Mapping[str, Any] | None,
    tie_policy: str,
    aggregation: str,
    by: User | None,
) -> Snapshot:
    if by is not None:
        ensure(by, Capability.EXPORT, project)
    for value, allowed, name in (
        (kind, Snapshot.Kind.values, "kind"),
        (format, list(EXPORTERS), "format"),
        (tie_policy, Snapshot.TiePolicy.values, "tie policy"),
        (aggregation, Snapshot.Aggregation.values, "aggregation"),
    ):
        if value not in allowed:
            raise Refused(
                _("The %(name)s of a snapshot is one of %(allowed)s.") % {"name": name, "allowed": ", ".join(allowed)},
                status=400,
            )
    Filters.checked(filters or {})
    if kind not in EXPORTERS[format].kinds:
        raise Refused(
            _("The format %(format)s has no place for %(kind)s.")
            % {"format": _(EXPORTERS[format].label), "kind": Snapshot.Kind(kind).label.lower()},
            status=400,
        )
    if aggregation != Snapshot.Aggregation.RAW and kind != Snapshot.Kind.RANKINGS:
        raise Refused(_("Only rankings are weighted or reduced to a consensus."), status=400)
    if aggregation == Snapshot.Aggregation.WEIGHTED and not EXPORTERS[format].has_weights:
        raise Refused(
            _("The format %(format)s has no place for weights.") % {"format": EXPORTERS[format].label}, status=400
        )
    with transaction.atomic():
        snapshot = Snapshot.objects.create(
            project=project,
            kind=kind,
            format=format,
            filters=dict(filters or {}),
            tie_policy=tie_policy,
            aggregation=aggregation,
            created_by=by,
        )
        audit.record(
            verb="snapshot.requested", actor=by, subject=snapshot, project=project, kind=str(kind), format=format
        )
    return snapshot


def _write(snapshot: Snapshot, folder: Path, report: Progress) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Write every file into the folder; the files with their hashes, and counts of rows for the card."""
    exporter = EXPORTERS[snapshot.format]
    filters = Filters.checked(snapshot.filters)
    selections = selected(snapshot)
    aggregation = snapshot_aggregation.prepared(snapshot, selections, heartbeat=lambda: report(0.0))
    expected = sum(len(selection) for selection in selections)
    counts: Counter[str] = Counter(rows=0)
    written: Counter[str] = Counter()
    paths = {split: folder / file_name(snapshot, split) for split in SPLITS if split in filters.splits}
    statistics, redactor = Statistics(), Redactor()
    with ExitStack() as open_files:
        writers = {
            split: open_files.enter_context(exporter.open(path, kind=snapshot.kind)) for split, path in paths.items()
        }
        records = rows(snapshot, selections, aggregation)
        if filters.redact:
            records = redacted(records, redactor)
        # Rows are trees, which go without the collector's help; walking through them took it a quarter of all the time.
        open_files.enter_context(no_garbage_collection())
        for number, (split, row) in enumerate(records, start=1):
            report(number / expected)
            if number % ROWS_A_COLLECTION == 0:
                gc.collect()
            if row is None:
                counts["left_out_ties"] += 1
                continue
            counts["records"] += 1
            if row.get("judge", HUMAN) != HUMAN:  # demonstrations and prompts have no judge
                counts["records_by_ai"] += 1
            counts[f"records_{split}"] += 1
            statistics.add(row)
            counts.update(exporter.left_out(row, kind=snapshot.kind))
            for exported in exporter.rows(row, kind=snapshot.kind):
                writers[split].write(exported)
                written[split] += 1
    counts["rows"] = written.total()
    if not counts["rows"]:
        raise refusal("nothing_to_freeze", kind={"message": snapshot.kind})
    files = {path.name: _file(path, written[split]) for split, path in paths.items()}
    (folder / "README.md").write_text(
        card(
            snapshot,
            files=files,
            counts=counts,
            aggregation=aggregation,
            statistics=statistics,
            redactions=redactor.found if filters.redact else None,
            agreement=mean_agreement(selections[0]) if snapshot.kind == Snapshot.Kind.RANKINGS else None,
        ),
        encoding="utf-8",
    )
    manifest = {
        "project": snapshot.project.slug,
        "kind": snapshot.kind,
        "format": snapshot.format,
        "filters": snapshot.filters,
        "tie_policy": snapshot.tie_policy,
        "aggregation": aggregation.description(),
        "counts": dict(sorted(counts.items())),
        **({"redactions": dict(sorted(redactor.found.items()))} if filters.redact else {}),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for name in ("README.md", "manifest.json"):
        files[name] = _file(folder / name, None)
    return files, counts


def preview_redaction(*, project: Project, kind: str, samples: int = 20) -> Redactor:
    """What redaction would find in the first records of a kind, with the text around it."""
    redactor = Redactor(most_samples=samples)
    snapshot = Snapshot(project=project, kind=kind, filters={"comments": True})
    for selection in selected(snapshot):
        first = selection.only(list(range(min(PREVIEWED, len(selection)))))
        for _split, row in rows(snapshot, (first,)):
            if row is not None:
                redactor.row(row)
    return redactor


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
        path.chmod(0o400)
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


def _reason(error: Refused | OSError) -> dict[str, Any]:
    if isinstance(error, Refused):
        return stored_messages.of_exception(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoredMessage("disk_full").as_json()
    reason = error.strerror or str(error) or type(error).__name__
    return StoredMessage("files_not_writable", {"reason": reason}).as_json()
