"""Large files on their way into a project: kept when they are uploaded, imported by a job, and cancelled on request.

A file lies in HONE_DATA/uploads/ under a name of its own until it is dealt with. Of a data set of a Hub there is a
folder instead, into which the job fetches its files. The job holds a lease, which it renews
about once a second; when it dies, another one begins anew, since an import that didn't finish leaves no row.
"""

import logging
import os
import secrets
import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data import import_stages, rejected_rows
from annotate.data.hub import hub_downloads
from annotate.data.hub.hub_files import HubSource
from annotate.data.imports import ImportReport, import_file
from annotate.errors import Refused
from annotate.models import DataImport, Project, Upload, User
from annotate.models.leased_job import JobLease
from annotate.people import event_outbox
from annotate.people.permissions import Capability, ensure

log = logging.getLogger(__name__)

State = Upload.State
FOLDER = "uploads"
REPORT_SECONDS = 1.0
MOST_ATTEMPTS = 3
FORGOTTEN = timedelta(hours=1)
"""After which a file that no upload names is taken away: its request ended before the upload was written down."""
FOLDER_FORGOTTEN = timedelta(days=1)
"""The same of a folder, which an import reads from without an upload: of a zip, or of a command."""
IN_REQUEST_BYTES = 2 * 2**20
COMPRESSED_BYTES = 64 * 2**10
COMPRESSED = (b"\x1f\x8b", b"PAR1", b"PK\x03\x04")
"""How gzip, Parquet and .xlsx files begin, of which a small one may hold a great deal."""


def is_small(file: UploadedFile) -> bool:
    """Whether a file takes so little time that it is imported while its request waits."""
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    return (file.size or 0) <= (COMPRESSED_BYTES if head.startswith(COMPRESSED) else IN_REQUEST_BYTES)


def keep(*, project: Project, by: User, file: UploadedFile, options: dict[str, Any]) -> Upload:
    """Keep an uploaded file and ask for its import, with these options of import_file.

    Raises NotYours, and Refused (507) where there is no room for it.
    """
    ensure(by, Capability.MANAGE, project)
    name = (file.name or "file").encode("utf-8", "replace").decode()[:200]
    relative = f"{FOLDER}/{secrets.token_hex(16)}{Path(name).suffix[:20]}"
    path = Path(settings.HONE_DATA) / relative
    try:
        write(file, path)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Refused(
            _("The file can’t be kept: %(reason)s. Nothing was imported.") % {"reason": error.strerror or error},
            status=507,
        ) from None
    with transaction.atomic():
        upload = Upload.objects.create(
            project=project,
            created_by=by,
            file_name=name,
            path=relative,
            bytes=file.size or 0,
            options=options,
            said_in=translation.get_language() or "en",
        )
        transaction.on_commit(lambda: _ask_for(upload.pk))
    return upload


def keep_source(*, project: Project, by: User, source: HubSource, options: dict[str, Any]) -> Upload:
    """Ask for a data set of a Hub to be fetched and imported, with these options of import_file. Raises NotYours."""
    ensure(by, Capability.MANAGE, project)
    with transaction.atomic():
        upload = Upload.objects.create(
            project=project,
            created_by=by,
            file_name=source.repository,
            path=f"{FOLDER}/{secrets.token_hex(16)}",
            bytes=0,
            options=options,
            hub=source.as_json(),
            said_in=translation.get_language() or "en",
        )
        transaction.on_commit(lambda: _ask_for(upload.pk))
    return upload


def cancel(upload: Upload) -> None:
    """Nothing of it is imported, unless its rows are seen already: then it is finished."""
    waiting = Upload.objects.filter(pk=upload.pk, state=State.WAITING)
    with transaction.atomic():
        is_ended = waiting.update(state=State.CANCELLED, cancel_requested=True, finished_at=timezone.now()) == 1
        if is_ended:
            _record_end(upload, State.CANCELLED)
    if is_ended:
        _remove(_path(upload))
    else:
        Upload.objects.filter(pk=upload.pk, state=State.WORKING).update(cancel_requested=True)


def run(upload_id: int) -> None:
    """Import a kept file, unless another job is at work on it or it is dealt with."""
    job = _Job.claimed(upload_id)
    if job is None:
        return
    with translation.override(job.upload.said_in):
        if not job.run():
            return
    waiting = Upload.objects.filter(project=job.upload.project_id, state=State.WAITING).exclude(pk=upload_id)
    if (following := waiting.order_by("pk").values_list("pk", flat=True).first()) is not None:
        _ask_for(following)


def abandoned(*, now: datetime) -> QuerySet[Upload]:
    """Uploads that wait, or whose job died."""
    return Upload.objects.filter(Upload.is_free(now)).order_by("pk")


def remove_forgotten(*, now: datetime) -> int:
    """Take away files that no unfinished upload names; returns how many there were."""
    named = set(Upload.objects.filter(state__in=Upload.UNFINISHED).values_list("path", flat=True))
    removed = 0
    for path in (Path(settings.HONE_DATA) / FOLDER).glob("*"):
        oldest = (now - (FOLDER_FORGOTTEN if path.is_dir() else FORGOTTEN)).timestamp()
        if f"{FOLDER}/{path.name.removesuffix('.partial')}" not in named and path.stat().st_mtime < oldest:
            _remove(path)
            removed += 1
    return removed + rejected_rows.remove_old(now=now)


class _Ended(Exception):
    """The job has to stop: it was cancelled, or taken for dead."""


@dataclass(kw_only=True)
class _Job:
    """One attempt to import an upload."""

    upload: Upload
    lease: JobLease
    reported: float = field(default=0.0)

    @classmethod
    def claimed(cls, upload_id: int) -> "_Job | None":
        free = Upload.objects.filter(Upload.is_free(timezone.now()))
        lease = JobLease.taken(free, upload_id, progress=0.0, rows_checked=0, attempts=F("attempts") + 1)
        if lease is None:
            return None
        return cls(upload=Upload.objects.select_related("project", "created_by").get(pk=upload_id), lease=lease)

    def run(self) -> bool:
        """Whether it is dealt with; it isn't while another import into the project is under way."""
        shown = DataImport.objects.filter(
            upload=self.upload, state__in=[DataImport.State.APPLYING, DataImport.State.DONE]
        )
        try:
            if (data_import := shown.first()) is not None:
                # An earlier job died after the rows were seen.
                self._end(state=State.DONE, report=data_import.report)
            elif self.upload.attempts > MOST_ATTEMPTS:
                self._refuse(
                    _(
                        "The import was begun %(times)d times, and each time its process ended. Nothing was imported; "
                        "split the file, or have it imported by import_data."
                    )
                    % {"times": MOST_ATTEMPTS}
                )
            else:
                self._import()
        except import_stages.ImportUnderWay:
            self.lease.put_back(attempts=F("attempts") - 1)
            return False
        except Refused as reason:
            self._refuse(str(reason))
        except _Ended:
            self._end(state=State.CANCELLED)
        except DatabaseError:
            log.exception("Upload %s waits for the database; another job begins when its lease is over", self.upload.pk)
            return False
        except Exception:
            log.exception("Upload %s could not be imported", self.upload.pk)
            self._refuse(_("Hone failed to read this file. Nothing was imported; the log of the worker says why."))
        return True

    def _import(self) -> None:
        if self.upload.hub and not _path(self.upload).exists():
            self._fetch()
        if not _path(self.upload).exists():
            raise Refused(_("The uploaded file isn’t there any more. Nothing was imported; upload it again."))
        report = import_file(
            project=self.upload.project,
            path=_path(self.upload),
            by=self.upload.created_by,
            name=self.upload.file_name,
            wait=False,
            upload=self.upload,
            progress=self._report,
            **self.upload.options,
        )
        self._end(state=State.REFUSED if report.errors else State.DONE, report=report.as_json())

    def _fetch(self) -> None:
        """From now on the data set is the one of this commit: another attempt gets the same files."""
        source = HubSource(**self.upload.hub)
        commit, size = hub_downloads.fetch(source, _path(self.upload), heartbeat=self._report_fetched)
        pinned = replace(source, revision=commit).as_json()
        if not self.lease.renew(fetched_bytes=size, bytes=size, hub=pinned):
            raise _Ended

    def _report_fetched(self, fetched: int, total: int) -> None:
        """The same as `_report` while files are fetched."""
        self._say(done=0.0, fetched_bytes=fetched, bytes=total)

    def _report(self, rows: int, done: float) -> None:
        """Say about once a second that the job is alive, and how far. Raises _Ended."""
        self._say(done=done, rows_checked=rows, progress=done)

    def _say(self, *, done: float, **values: Any) -> None:
        if time.monotonic() - self.reported < REPORT_SECONDS:
            return
        self.reported = time.monotonic()
        # Once its rows are seen, it can only be finished.
        conditions = [] if done >= 1.0 else [Q(cancel_requested=False)]
        if not self.lease.renew(*conditions, **values):
            raise _Ended

    def _refuse(self, sentence: str) -> None:
        self._end(state=State.REFUSED, error=sentence)

    def _end(self, **values: Any) -> None:
        """One that is done has been told of when its rows were seen."""
        with transaction.atomic():
            if not self.lease.end(**values):
                return
            if values["state"] != State.DONE:
                _record_end(self.upload, values["state"])
        _remove(_path(self.upload))


def _record_end(upload: Upload, state: str) -> None:
    """Of an import without rows. Call it in the transaction of its end."""
    said: dict[str, Any] = {"import": upload.pk, "state": str(state), "file": upload.file_name}
    event_outbox.record(event_outbox.IMPORT_FINISHED, project=upload.project_id, **said)


def report_of(upload: Upload) -> ImportReport | None:
    return ImportReport.from_json(upload.report) if upload.report else None


def _ask_for(upload_id: int) -> None:
    signals.upload_kept.send_robust(sender=Upload, upload_id=upload_id)


def _path(upload: Upload) -> Path:
    return Path(settings.HONE_DATA) / upload.path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write(file: UploadedFile, path: Path) -> None:
    """On the disk and not only in its cache: a person who saw that it was taken needn't upload it again."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as kept:
        for chunk in file.chunks():
            kept.write(chunk)
        kept.flush()
        os.fsync(kept.fileno())
