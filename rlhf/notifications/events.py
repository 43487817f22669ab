"""The events of a project that targets hear of, as a key and a payload each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotate.data import stored_messages
from annotate.models import Project
from rlhf.loop.loop import why_ended
from rlhf.models import Iteration, NotificationTarget, TrainingRun

Event = NotificationTarget.Event
MOST = 500
"""Ends of runs that are looked at in a project at once."""
OF_RUNS = {TrainingRun.Status.SUCCEEDED: Event.RUN_SUCCEEDED, TrainingRun.Status.FAILED: Event.RUN_FAILED}
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


def since(project: Project, time: datetime) -> Iterator[Happened]:
    """Runs and rounds that ended at this time or later; runs of chats are nobody's event."""
    runs = project.training_runs.filter(status__in=OF_RUNS, finished_at__gte=time)
    runs = runs.exclude(queue=TrainingRun.LIVE_QUEUE).select_related("produced").defer("log")
    for run in runs.order_by("-finished_at")[:MOST]:
        assert run.finished_at is not None  # as filtered
        yield Happened(
            key=f"run-{run.pk}-{run.finished_at.timestamp():.3f}",  # a resumed run ends again
            event=OF_RUNS[TrainingRun.Status(run.status)],
            at=run.finished_at,
            payload=_of_run(run, project),
        )
    for iteration in project.iterations.filter(state__in=OF_ROUNDS, finished_at__gte=time).order_by("-number")[:MOST]:
        assert iteration.finished_at is not None
        yield Happened(
            key=f"round-{iteration.pk}-{iteration.finished_at.timestamp():.3f}",
            event=OF_ROUNDS[Iteration.State(iteration.state)],
            at=iteration.finished_at,
            payload=_of_round(iteration, project),
        )


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
