"""Events that are told outside: written with what they tell of, so that neither is there without the other.

Only what somebody hears of is written: `Project.outbox_events` names it. The app that sends takes the rows out.
"""

from collections.abc import Collection
from typing import Any

from django.db import transaction

from annotate.models import OutboxEvent, Project
from annotate.models.prepared_queries import insert

JUDGMENTS_SUBMITTED, IMPORT_FINISHED = "judgments.submitted", "import.finished"
SNAPSHOT_READY, SNAPSHOT_FAILED = "snapshot.ready", "snapshot.failed"
BATCH = 500


def record(event: str, /, *, project: int, chosen: Collection[str] | None = None, **payload: Any) -> None:
    """Write the event if somebody hears of it. Call it in the transaction of what has happened.

    chosen: `outbox_events` of the project, where it has just been read anyway.
    """
    if chosen is None:
        chosen = Project.objects.filter(pk=project).values_list("outbox_events", flat=True).first() or ()
    if event in chosen:
        insert(OutboxEvent(project_id=project, event=event, payload=payload))


def listen(project: Project, events: Collection[str]) -> None:
    """From now on these events are written, and no others. Call it in the transaction that changes who hears."""
    Project.objects.filter(pk=project.pk).update(outbox_events=sorted(events))


def projects() -> list[int]:
    """The projects of which something waits to be passed on."""
    return list(OutboxEvent.objects.order_by().values_list("project", flat=True).distinct())


def take(project: int, *, most: int = BATCH) -> list[OutboxEvent]:
    """The oldest events of a project, each once whoever asks: they are gone when the caller's transaction commits."""
    assert transaction.get_connection().in_atomic_block
    rows = OutboxEvent.objects.select_for_update(skip_locked=True).filter(project=project).order_by("pk")
    found = list(rows[:most])
    OutboxEvent.objects.filter(pk__in=[row.pk for row in found]).delete()
    return found
