"""The events of a project that targets hear of, as a key and a payload each.

Runs and rounds say themselves that they have ended, and since when (`since`). Everything else is in the outbox
(annotate.people.event_outbox), written in the transaction of what happened (`of_outbox`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotate.data import stored_messages
from annotate.models import OutboxEvent, Project
from rlhf.loop.loop import why_ended
from rlhf.models import Iteration, NotificationTarget, TrainingRun

Event = NotificationTarget.Event
MOST = 500
"""Ends of runs, and of rounds, that are looked at in a project at once: the oldest."""
OF_OUTBOX = frozenset(
    {
        *(Event.JUDGMENTS_SUBMITTED, Event.SNAPSHOT_READY, Event.SNAPSHOT_FAILED),
        *(Event.IMPORT_FINISHED, Event.MODEL_PROMOTED),
    }
)
OF_RUNS = {
    TrainingRun.Status.SUCCEEDED: Event.RUN_SUCCEEDED,
    TrainingRun.Status.FAILED: Event.RUN_FAILED,
    TrainingRun.Status.CANCELLED: Event.RUN_CANCELLED,
}
OF_ROUNDS = {
    Iteration.State.SUCCEEDED: Event.ROUND_SUCCEEDED,
    Iteration.State.STOPPED: Event.ROUND_STOPPED,
    Iteration.State.FAILED: Event.ROUND_FAILED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Happened:
    """key: the same for the same event, whoever asks and when."""

    key: str
    event: str
    at: datetime
    payload: dict[str, Any]


def since(project: Project, time: datetime) -> list[Happened]:
    """The first of what ended at this time or later, the earliest first."""
    return sorted(_ends(project, time), key=lambda each: each.at)[:MOST]


def _ends(project: Project, time: datetime) -> Iterator[Happened]:
    """Runs and rounds that ended at this time or later, the earliest of each; runs of chats are nobody's event."""
    runs = project.training_runs.filter(status__in=OF_RUNS, finished_at__gte=time)
    runs = runs.exclude(queue=TrainingRun.LIVE_QUEUE).select_related("produced").defer("log")
    for run in runs.order_by("finished_at")[:MOST]:
        assert run.finished_at is not None  # as filtered
        yield Happened(
            key=f"run-{run.pk}-{run.finished_at.timestamp():.3f}",  # a resumed run ends again
            event=OF_RUNS[TrainingRun.Status(run.status)],
            at=run.finished_at,
            payload=_of_run(run, project),
        )
    rounds = project.iterations.filter(state__in=OF_ROUNDS, finished_at__gte=time)
    for iteration in rounds.order_by("finished_at")[:MOST]:
        assert iteration.finished_at is not None
        yield Happened(
            key=f"round-{iteration.pk}-{iteration.finished_at.timestamp():.3f}",
            event=OF_ROUNDS[Iteration.State(iteration.state)],
            at=iteration.finished_at,
            payload=_of_round(iteration, project),
        )


def of_outbox(rows: Sequence[OutboxEvent], project: Project) -> list[Happened]:
    """Judgments together, everything else one by one."""
    judgments = [row for row in rows if row.event == Event.JUDGMENTS_SUBMITTED]
    found = [_of_row(row, project) for row in rows if row.event != Event.JUDGMENTS_SUBMITTED]
    if judgments:
        payload = {
            "project": project.slug,
            "count": len(judgments),
            "judgments": [{**row.payload, "at": row.created_at.isoformat()} for row in judgments],
        }
        key = f"judgments-{judgments[0].pk}-{judgments[-1].pk}"
        found.append(Happened(key=key, event=Event.JUDGMENTS_SUBMITTED, at=judgments[-1].created_at, payload=payload))
    return found


def _of_row(row: OutboxEvent, project: Project) -> Happened:
    payload = {"project": project.slug, **row.payload, "at": row.created_at.isoformat()}
    return Happened(key=f"event-{row.pk}", event=row.event, at=row.created_at, payload=payload)


def _of_run(run: TrainingRun, project: Project) -> dict[str, Any]:
    assert run.finished_at is not None
    numbers = {name: value for name, value in run.result.items() if isinstance(value, int | float)}
    return {
        "project": project.slug,
        "run": run.pk,
        "stage": run.stage,
        "status": run.status,
        "finished_at": run.finished_at.isoformat(),
        "model": str(run.produced) if run.produced is not None else None,
        "error": stored_messages.in_english(run.failure or run.error) or None,
        "metrics": dict(list(numbers.items())[:50]),
    }


def _of_round(iteration: Iteration, project: Project) -> dict[str, Any]:
    assert iteration.finished_at is not None
    return {
        "project": project.slug,
        "round": iteration.number,
        "status": iteration.state,
        "finished_at": iteration.finished_at.isoformat(),
        "reason": why_ended(iteration) or None,
    }
