"""All or nothing, without a long transaction: an import's rows are written unseen, then shown at once or taken away.

What an import wrote is seen by nobody until `show` (see models.data_import). An import that fails before, or whose
process is killed, has its rows removed, in short transactions too. From then on it can only be finished: what it says
of prompts that were there already is written in the next moments, in short transactions as well. `reap` removes and
finishes for the dead. Accounts and authors that stand for people and models of the file stay: without a row of theirs
they are on no page.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.models import (
    Assignment,
    DataImport,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    PromptChange,
    Response,
    Task,
    TaskResponse,
    Upload,
    User,
)
from annotate.models.data.data_import import writing
from annotate.models.leased_job import LEASE, JobLease
from annotate.people import event_outbox

State = DataImport.State
WAIT_SECONDS = 0.5
BATCH = 500


class ImportUnderWay(Refused):
    """Another import into the project is at work."""


class ImportLost(Refused):
    """The import was taken for dead, and what it wrote is being removed."""

    def __init__(self, data_import: DataImport) -> None:
        super().__init__(
            _(
                "The import of %(file)s stood still for more than %(seconds)d seconds, so it was given up and its rows "
                "are being removed. Nothing was imported; import the file again."
            )
            % {"file": data_import.file_name, "seconds": LEASE.total_seconds()}
        )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """An import under way. Each of its transactions calls `renew` or `show`, which raise ImportLost."""

    data_import: DataImport
    lease: JobLease

    def renew(self, *, rows: int) -> None:
        """Say that the import is alive and deals with `rows` more. It locks the import's row: nothing removes them."""
        self._change(rows_written=F("rows_written") + rows)

    def show(self, *, report: dict[str, Any]) -> None:
        """Show all that was written; `finish` comes after the transaction."""
        self._change(state=State.APPLYING, report=report)

    def _change(self, **values: Any) -> None:
        if not self.lease.renew(**values):
            raise ImportLost(self.data_import)


def begin(*, project: Project, by: User | None, file_name: str, wait: bool, upload: Upload | None = None) -> DataImport:
    """A new import, when no other one into the project is under way; the dead one's rows are removed first.

    Without `wait` raises ImportUnderWay while another one is at work.
    """
    while (made := _made(project=project, created_by=by, file_name=file_name, upload=upload)) is None:
        reap(project=project)
        if DataImport.objects.filter(project=project, state__in=DataImport.UNDER_WAY).exists():
            if not wait:
                raise ImportUnderWay(
                    _("Another file is being imported into this project. Nothing was imported; try again in a minute.")
                )
            time.sleep(WAIT_SECONDS)
    return made


def _made(**values: Any) -> DataImport | None:
    """A new import in the hands of this process; None while another one of its project is under way."""
    try:
        with transaction.atomic():
            return DataImport.objects.create(token=uuid.uuid4(), lease_until=timezone.now() + LEASE, **values)
    except IntegrityError:
        return None


@contextmanager
def staged(data_import: DataImport) -> Iterator[Stage]:
    """Rows made within this belong to the import. Whatever it ends with but `show`, they are removed."""
    assert data_import.token is not None  # as every one has that is under way
    lease = JobLease(model=DataImport, job=data_import.pk, state=State.WRITING, token=data_import.token)
    stage = Stage(data_import=data_import, lease=lease)
    try:
        with writing(data_import):
            yield stage
    except BaseException:
        _remove(data_import, token=lease.token)
        raise


def reap(*, project: Project | None = None, now: datetime | None = None) -> int:
    """Remove what imports left whose process is gone, and finish those that are seen; returns how many there were."""
    now = now or timezone.now()
    dead = DataImport.objects.filter(state__in=DataImport.UNDER_WAY, lease_until__lt=now)
    found = list(dead.filter(project=project) if project is not None else dead)
    return sum(
        (finish if data_import.state == State.APPLYING else _remove)(data_import, token=data_import.token)
        for data_import in found
    )


def finish(data_import: DataImport, *, token: uuid.UUID | None, heartbeat: Callable[[], None] = lambda: None) -> bool:
    """Write what a seen import says of prompts that were there before. False where somebody else does, or has.

    `heartbeat` is called before each transaction.
    """
    seen = DataImport.objects.filter(state=State.APPLYING, token=token)
    if (lease := JobLease.taken(seen, data_import.pk, state=State.APPLYING)) is None:
        return False
    changes = PromptChange.objects.filter(data_import=data_import.pk)
    pace = Pace(largest=BATCH)
    while found := list(changes.order_by("pk")[: pace.size]):
        heartbeat()
        for batch in pace.batches(found):
            with pace.transaction():
                if not lease.renew():
                    return False
                _apply(batch)
    with transaction.atomic():
        if not lease.end(state=State.DONE):
            return False
        report = DataImport.objects.filter(pk=data_import.pk).values_list("report", flat=True).first() or {}
        said: dict[str, Any] = {name: report.get(name) for name in ("read", "created", "duplicates")}
        said |= {"import": data_import.upload_id, "state": "done", "file": data_import.file_name}
        event_outbox.record(event_outbox.IMPORT_FINISHED, project=data_import.project_id, **said)
    return True


def _apply(changes: list[PromptChange]) -> None:
    """Each field on its own: a prompt that was marked as upsetting meanwhile stays so."""
    upsetting = [change.prompt_id for change in changes if change.sensitive]
    Prompt.with_unfinished.filter(pk__in=upsetting).update(sensitive=True)
    named = [Prompt(pk=change.prompt_id, external_id=change.external_id) for change in changes if change.external_id]
    Prompt.with_unfinished.bulk_update(named, ["external_id"])
    PromptChange.objects.filter(pk__in=[change.pk for change in changes]).delete()


def _remove(data_import: DataImport, *, token: uuid.UUID | None) -> bool:
    """Take away what an import wrote. False where somebody else does, or it has finished."""
    unfinished = DataImport.objects.filter(state__in=DataImport.UNFINISHED, token=token)
    if (lease := JobLease.taken(unfinished, data_import.pk, state=State.REMOVING)) is None:
        return False
    for rows, delete in _removals(data_import.pk):
        pace = Pace(largest=BATCH)
        while keys := list(rows.order_by().values_list("pk", flat=True)[: pace.size]):
            for batch in pace.batches(keys):
                with pace.transaction():
                    if not lease.renew():
                        return False
                    delete(batch)
    lease.end(state=State.FAILED)
    return True


def _removals(number: int) -> list[tuple[QuerySet[Any], Callable[[list[int]], None]]]:
    """(rows, how to delete some of them) of all that an import wrote, what others refer to last."""
    judgments = Judgment.with_unfinished.filter(data_import=number)
    of_tasks = Q(task__in=Task.with_unfinished.filter(data_import=number).values("pk"))
    changes = PromptChange.objects.filter(data_import=number)
    rows: list[QuerySet[Any]] = [changes, Assignment.objects.filter(of_tasks), TaskResponse.objects.filter(of_tasks)]
    rows += [model.with_unfinished.filter(data_import=number) for model in (Task, Demonstration, Response)]
    # Chats before the prompts that they began as, which may be in another batch.
    prompts = Prompt.with_unfinished.filter(data_import=number)
    rows += [prompts.exclude(opening=None), prompts]
    return [(judgments, partial(_delete_judgments, judgments)), *((found, partial(_delete, found)) for found in rows)]


def _delete(rows: QuerySet[Any], keys: list[int]) -> None:
    """Without looking for what refers to the rows: `_removals` has the order. Append-only ones were never shown.

    A prompt that somebody wrote meanwhile isn't the import's any more, and stays.
    """
    rows.filter(pk__in=keys)._raw_delete(rows.db)


def _delete_judgments(judgments: QuerySet[Judgment], keys: list[int]) -> None:
    assignments = list(judgments.filter(pk__in=keys).values_list("assignment", flat=True))
    judgments.filter(pk__in=keys).update(latest=None)
    revisions = JudgmentRevision.objects.filter(judgment__in=keys)
    revisions._raw_delete(revisions.db)
    _delete(judgments, keys)
    _delete(Assignment.objects.all(), assignments)
