"""Pushes a ready snapshot to a repository of a Hub: its files as they are, and its card with a header for the Hub.

The page asks and a job pushes, with the token of an environment variable of its worker; a command pushes itself. All
files are one commit, whose message has the snapshot's SHA-256. The network is another thread's work, while the job's
own says that it is alive and how far it is: what the Hub's client has read of the files.
"""

import io
import logging
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data import snapshots
from annotate.data.hub import dataset_header, hub_client
from annotate.errors import Refused
from annotate.models import DatasetPush, Snapshot, User
from annotate.models.leased_job import JobLease
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

log = logging.getLogger(__name__)

State = DatasetPush.State
MOST_ATTEMPTS = 3
MOST_WAITING = 20
"""Pushes of a project that wait or are at work."""
REPORT_SECONDS = 1.0
LONGEST_URL = 500
READINGS = 2
"""How often the client reads a file: for its hash, and to send it."""
CARD = "README.md"


def request(*, snapshot: Snapshot, repository: str, private: bool, token_variable: str, by: User) -> DatasetPush:
    """Ask for a push, which a job makes. Raises NotYours and Refused."""
    ensure(by, Capability.EXPORT, snapshot.project)
    if not token_variable:
        raise Refused(_("Name the environment variable that holds the token, such as HF_TOKEN."), status=400)
    push = _made(snapshot, repository, private=private, token_variable=token_variable, by=by)
    transaction.on_commit(lambda: signals.push_requested.send_robust(sender=DatasetPush, push_id=push.pk))
    return push


def push_now(
    *, snapshot: Snapshot, repository: str, private: bool, token_variable: str = "", token: str = ""
) -> DatasetPush:
    """Push within this process, for whoever runs a command: with the token that they typed, or a variable's.

    Raises Refused with the reason that the push also keeps.
    """
    with transaction.atomic():
        push = _made(snapshot, repository, private=private, token_variable="" if token else token_variable, by=None)
        job = _Job.claimed(push.pk)
    assert job is not None  # nobody else has seen it
    job.run(token=token)
    push.refresh_from_db()
    if push.state != State.DONE:
        raise Refused(push.error or _("The push was taken over by another process."))
    return push


def run(push_id: int) -> None:
    """Push what was asked for, unless another job is at work on it or it is dealt with."""
    job = _Job.claimed(push_id)
    if job is not None:
        with translation.override(job.push.said_in):
            job.run()


def abandoned(*, now: datetime) -> QuerySet[DatasetPush]:
    """Pushes that wait, or whose job died."""
    return DatasetPush.objects.filter(DatasetPush.is_free(now)).order_by("pk")


def _made(snapshot: Snapshot, repository: str, *, private: bool, token_variable: str, by: User | None) -> DatasetPush:
    hub_client.check_repository(repository)
    hub_client.check_token_variable(token_variable)
    if snapshot.state != Snapshot.State.READY:
        raise Refused(_("This snapshot isn’t ready: there is nothing to push yet."))
    waiting = DatasetPush.objects.filter(snapshot__project=snapshot.project_id, state__in=DatasetPush.UNFINISHED)
    if waiting.count() >= MOST_WAITING:
        raise Refused(_("%(number)d pushes of this project wait already.") % {"number": MOST_WAITING})
    with transaction.atomic():
        push = DatasetPush.objects.create(
            snapshot=snapshot,
            created_by=by,
            repository=repository,
            private=private,
            token_variable=token_variable,
            said_in=translation.get_language() or "en",
        )
        audit.record(
            verb="snapshot.pushed",
            actor=by,
            subject=snapshot,
            project=snapshot.project,
            repository=repository,
            private=private,
        )
    return push


class _Lost(Exception):
    """Another job has taken over: this one was silent for longer than its lease."""


@dataclass(kw_only=True)
class _Job:
    """One attempt to push a snapshot."""

    push: DatasetPush
    lease: JobLease

    @classmethod
    def claimed(cls, push_id: int) -> "_Job | None":
        free = DatasetPush.objects.filter(DatasetPush.is_free(timezone.now()))
        lease = JobLease.taken(free, push_id, progress=0.0, attempts=F("attempts") + 1)
        if lease is None:
            return None
        push = DatasetPush.objects.select_related("snapshot__project", "created_by").get(pk=push_id)
        return cls(push=push, lease=lease)

    def run(self, token: str = "") -> None:
        try:
            if self.push.attempts > MOST_ATTEMPTS:
                raise Refused(
                    _("The push was begun %(times)d times, and each time its process ended.") % {"times": MOST_ATTEMPTS}
                )
            if not token and not self.push.token_variable:
                raise Refused(_("The process ended in which the token was typed. Push the snapshot again."))
            commit = self._pushed(token or hub_client.token_in(self.push.token_variable))
            url = str(commit.commit_url)
            shown = url if len(url) <= LONGEST_URL and url.startswith(("https://", "http://")) else ""
            self.lease.end(state=State.DONE, progress=1.0, revision=str(commit.oid)[:64], url=shown)
        except Refused as reason:
            self.lease.end(state=State.REFUSED, error=str(reason))
        except _Lost:
            log.warning("Push %s was taken over by another job", self.push.pk)
        except DatabaseError:
            log.exception("Push %s waits for the database; another job begins when its lease is over", self.push.pk)
        except Exception:
            log.exception("Push %s could not be made", self.push.pk)
            self.lease.end(state=State.REFUSED, error=_("Hone failed to push this. The log of the worker says why."))

    def _pushed(self, token: str) -> Any:
        snapshot = self.push.snapshot
        if problems := snapshots.verify(snapshot):
            raise Refused(" ".join(map(str, problems)))
        api = hub_client.api(token)
        card = dataset_header.header(snapshot) + "\n" + (snapshots.folder_of(snapshot) / CARD).read_text("utf-8")
        sending = _Sending(
            api=api,
            repository=self.push.repository,
            private=self.push.private,
            message=f"Push snapshot {snapshot.sha256[:12]} of {snapshot.project.slug} from Hone",
            description=f"SHA-256 of the snapshot: {snapshot.sha256}",
            files=[snapshots.folder_of(snapshot) / name for name in sorted(snapshot.files) if name != CARD],
            card=card.encode(),
        )
        sending.start()
        while sending.is_alive():
            sending.join(REPORT_SECONDS)
            if not self.lease.renew(progress=sending.progress):
                raise _Lost
        with hub_client.refusals(self.push.repository, token=token):
            return sending.result()


class _Counted(io.BufferedReader):
    """A file that says how much of it was read."""

    def __init__(self, path: Path, sending: "_Sending") -> None:
        super().__init__(io.FileIO(path), 2**20)
        self.sending = sending

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.sending.bytes_read += len(found)
        return found


@dataclass(eq=False, kw_only=True)
class _Sending(Thread):
    """Makes the repository where there is none, and commits the files."""

    api: Any
    repository: str
    private: bool
    message: str
    description: str
    files: list[Path]
    card: bytes
    bytes_read: int = 0
    commit: Any = None
    error: BaseException | None = field(default=None)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.total = sum(path.stat().st_size for path in self.files)

    @property
    def progress(self) -> float:
        return min(0.99, self.bytes_read / max(1, READINGS * self.total))

    def run(self) -> None:
        from huggingface_hub import CommitOperationAdd

        opened: list[_Counted] = []
        try:
            self.api.create_repo(self.repository, private=self.private, repo_type="dataset", exist_ok=True)
            opened = [_Counted(path, self) for path in self.files]
            added = [CommitOperationAdd(path.name, file) for path, file in zip(self.files, opened, strict=True)]
            self.commit = self.api.create_commit(
                self.repository,
                [*added, CommitOperationAdd(CARD, self.card)],
                repo_type="dataset",
                commit_message=self.message,
                commit_description=self.description,
            )
        except BaseException as error:
            self.error = error
        finally:
            for file in opened:
                file.close()

    def result(self) -> Any:
        """The commit; raises what went wrong."""
        if self.error is not None:
            raise self.error
        return self.commit
