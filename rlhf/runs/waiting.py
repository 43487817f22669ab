"""Follow runs and rounds in a terminal: the --wait of commands."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django.core.management.base import CommandError
from django.utils import timezone

from rlhf.models import Iteration, TrainingRun
from rlhf.runs.queues import workers

POLL_SECONDS = 0.5
PATIENCE = timedelta(seconds=60)
"""Longest wait in a queue that no worker consumes."""


@dataclass
class RunReporter:
    """Writes a line for each change of a run."""

    write: Callable[[str], object]
    reported: dict[int, str] = field(default_factory=dict)
    warned: set[int] = field(default_factory=set)

    def report(self, run: TrainingRun) -> None:
        """Write a line if something changed. Raises CommandError when no worker comes."""
        if run.status == TrainingRun.Status.QUEUED:
            self._report_missing_worker(run)
        line = self._line(run)
        if line != self.reported.get(run.pk):
            self.reported[run.pk] = line
            self.write(line)

    @staticmethod
    def _line(run: TrainingRun) -> str:
        name = f"{run.get_stage_display()} (run {run.pk})"
        if run.status == TrainingRun.Status.RUNNING:
            tenth = int(run.progress * 10) * 10
            return f"{name}: {run.activity or 'running'}" + (f", {tenth}%" if tenth else "")
        if run.status == TrainingRun.Status.FAILED:
            return f"{name}: failed. {run.error}"
        return f"{name}: {run.get_status_display().lower()}"

    def _report_missing_worker(self, run: TrainingRun) -> None:
        if workers.is_listening(run.queue):
            return
        if run.pk not in self.warned:
            self.warned.add(run.pk)
            self.write(f"No worker consumes the queue {run.queue}; run {run.pk} waits for one.")
        if run.queued_at < timezone.now() - PATIENCE:
            raise CommandError(
                f"No worker consumes the queue {run.queue}. Run {run.pk} stays queued and starts when one does "
                f"(celery -A config worker -Q {run.queue}); it can be cancelled on its page."
            )


def after_start(run: TrainingRun, *, wait: bool, write: Callable[[str], object]) -> TrainingRun:
    """Report a queued run, and with `wait` follow it to its end. Raises CommandError as `for_run` does."""
    write(f"Run {run.pk} is queued.")
    return for_run(run, write=write) if wait else run


def for_run(run: TrainingRun, *, write: Callable[[str], object]) -> TrainingRun:
    """Return when the run has ended. Raises CommandError when it failed, was cancelled, or no worker comes."""
    reporter = RunReporter(write)
    while True:
        run.refresh_from_db()
        reporter.report(run)
        if run.status == TrainingRun.Status.SUCCEEDED:
            return run
        if run.ended:
            raise CommandError(run.error or f"Run {run.pk} was cancelled.")
        time.sleep(POLL_SECONDS)


def for_rounds(first: Iteration, *, rounds: int, write: Callable[[str], object]) -> list[Iteration]:
    """Return the rounds when all have ended well. Raises CommandError when one ended otherwise, or no worker comes."""
    reporter = RunReporter(write)
    numbers = range(first.number, first.number + rounds)
    return [_wait_for_round(first, number, reporter) for number in numbers]


def _wait_for_round(first: Iteration, number: int, reporter: RunReporter) -> Iteration:
    reported = ""
    began = timezone.now()
    while True:
        iteration = (
            Iteration.objects.filter(project_id=first.project_id, number=number)
            .select_related("policy_version")
            .first()
        )
        if iteration is not None:
            line = f"Round {number}: {iteration.get_step_display().lower()}"
            if iteration.state != Iteration.State.ACTIVE:
                line = f"Round {number}: {iteration.get_state_display().lower()}. {iteration.reason}".strip()
            if line != reported:
                reported = line
                reporter.write(line)
            for run in iteration.runs.order_by("pk"):
                reporter.report(run)
            if iteration.state == Iteration.State.SUCCEEDED:
                return iteration
            if iteration.state != Iteration.State.ACTIVE:
                raise CommandError(f"Round {number} did not succeed: {iteration.reason}")
        if not workers.is_listening("default") and timezone.now() - began > PATIENCE:
            raise CommandError(
                "No worker consumes the queue default, which advances rounds (celery -A config worker -Q default)."
            )
        time.sleep(POLL_SECONDS)
