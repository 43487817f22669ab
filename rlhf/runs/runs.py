"""The only writer of a run's status.

    queued -> running -> succeeded | failed | cancelled
    running -> lost -> queued | failed          the worker went silent
    running -> queued                           the worker is stopping
    running -> queued | failed                  its process was killed, stalled or ran out of memory
    failed | cancelled -> queued                somebody resumes it

The row is authoritative and a Celery message only notifies a worker, so messages may be lost, late or doubled. A claim
gets a new lease token, and every later write carries it (fencing): a worker that was taken for dead changes nothing any
more. Each change is one conditional update that checks that one row changed.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.data.pacing import Pace
from annotate.data.stored_messages import StoredMessage, in_english
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from annotate.models.leased_job import was_long_ago
from annotate.people import audit
from models_core.contract.errors import BadInput
from models_core.contract.settings import parse, settings_of
from models_core.contract.settings.parsing import SettingsT
from rlhf.models import Iteration, ModelVersion, RunInput, RunMetric, TrainingRun
from rlhf.runs import estimates
from rlhf.runs.queues import outgoing_messages, workers

LEASE = timedelta(seconds=60)
RESEND_AFTER = timedelta(seconds=30)
NO_WORKER_LIMIT = timedelta(hours=24)
"""A run whose queue no worker consumed for so long fails."""
LOG_CHARACTERS = 20_000

Status = TrainingRun.Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a run's settings came from, and how soon it is to start."""

    preset: str = ""
    cloned_from: TrainingRun | None = None
    priority: int = TrainingRun.Priority.NORMAL


def checked_settings(kind: type[SettingsT], config: Mapping[str, Any]) -> SettingsT:
    """The settings that these values give. Raises Refused (400) that names what is wrong."""
    try:
        return parse(kind, config)
    except BadInput as error:
        raise Refused(str(error), status=400) from None


class LeaseLost(Exception):
    """The writing worker no longer holds the run: it was cancelled, reaped or claimed again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The exclusive right to write to a running run."""

    run_id: int
    token: uuid.UUID

    def rows(self) -> Any:
        return TrainingRun.objects.filter(pk=self.run_id, status=Status.RUNNING, lease_token=self.token)

    def write(self, **values: Any) -> None:
        """Change the run's row. Raises LeaseLost when the token is stale."""
        if self.rows().update(**values) != 1:
            raise LeaseLost(f"run {self.run_id} is not held by {self.token} any more")


def enqueue(
    *,
    project: Project,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, ModelVersion],
    ensemble: Sequence[ModelVersion] = (),
    by: User | None,
    options: Mapping[str, Any] | None = None,
    snapshot: Snapshot | None = None,
    iteration: Iteration | None = None,
    queue: str = "",
    origin: Origin | None = None,
) -> TrainingRun:
    """Write a queued run with its inputs ({role: version}) and audit event; a worker is notified after the commit.

    `ensemble` are further reward models, which score together with the one among the inputs.
    Raises Refused for an unknown or invalid setting, and for a run that exceeds the workers' machine.
    """
    parsed = checked_settings(settings_of(stage), config)
    queue, origin = queue or training_queue(), origin or Origin()
    estimates.refuse_impossible(
        stage=stage, config=config, queue=queue, models=[*inputs.values(), *ensemble], snapshot=snapshot
    )
    with transaction.atomic():
        run = TrainingRun.objects.create(
            project=project,
            stage=stage,
            config={name: getattr(parsed, name) for name in config},
            options=dict(options or {}),
            seed=parsed.seed,
            snapshot=snapshot,
            iteration=iteration,
            queue=queue,
            preset=origin.preset,
            cloned_from=origin.cloned_from,
            priority=origin.priority,
            created_by=by,
        )
        read = [*inputs.items(), *((RunInput.Role.ENSEMBLE, version) for version in ensemble)]
        RunInput.objects.bulk_create(RunInput(run=run, version=version, role=role) for role, version in read)
        audit.record(verb="run.queued", actor=by, subject=run, project=project, stage=stage, config=run.config)
        notify_worker(run)
    return run


def refuse_too_many(project: Project) -> None:
    """Raise Refused (429) when the project or the site has as many unfinished runs as it may have.

    Runs of chats and of rounds don't count: their number is bounded already.
    """
    open_runs = TrainingRun.objects.exclude(status__in=TrainingRun.ENDED).filter(iteration=None)
    open_runs = open_runs.exclude(queue=TrainingRun.LIVE_QUEUE)
    most = settings.HONE_RUNS_A_PROJECT
    if open_runs.filter(project=project).count() >= most:
        raise Refused(
            _("%(most)d runs of this project wait or run already. Wait until one has ended, or cancel one.")
            % {"most": most},
            status=429,
        )
    if open_runs.count() >= settings.HONE_RUNS_A_SITE:
        raise Refused(
            _("%(most)d runs of this site wait or run already. Wait until one has ended.")
            % {"most": settings.HONE_RUNS_A_SITE},
            status=429,
        )


def training_queue() -> str:
    """The queue of runs that are not live."""
    return "gpu" if settings.HONE_GPUS else "cpu"


def notify_worker(run: TrainingRun) -> None:
    """Send the run's message after the commit. Without a broker the scheduler sends it later."""
    send("rlhf.execute_run", run.pk, queue=run.queue)


def send(task: str, *arguments: Any, queue: str = "default") -> None:
    """Send a Celery message once the transaction has committed."""
    transaction.on_commit(lambda: outgoing_messages.send(task, *arguments, queue=queue))


def claim(*, run_id: int, worker: str, now: datetime | None = None) -> Lease | None:
    """Claim a queued run; None if it is held, ended or cancelled, as with doubled messages."""
    now = now or timezone.now()
    lease = Lease(run_id=run_id, token=uuid.uuid4())
    changed = TrainingRun.objects.filter(pk=run_id, status=Status.QUEUED).update(
        status=Status.RUNNING,
        attempt=F("attempt") + 1,
        lease_token=lease.token,
        lease_until=now + LEASE,
        heartbeat_at=now,
        started_at=now,
        worker=worker,
        process_group=None,
        activity=gettext_noop("starting"),
        error="",
        failure={},
    )
    return lease if changed == 1 else None


def renew(lease: Lease, *, now: datetime | None = None, **values: Any) -> None:
    """Extend the lease, and write new progress, activity, log or process_group. Raises LeaseLost."""
    now = now or timezone.now()
    if "log" in values:
        values["log"] = values["log"][-LOG_CHARACTERS:]
    lease.write(heartbeat_at=now, lease_until=now + LEASE, **values)


def record_metrics(lease: Lease, rows: Iterable[tuple[int, str, float]]) -> None:
    """Store (step, name, value) rows; a step that is reported again replaces the old numbers. Raises LeaseLost."""
    pace = Pace()
    for batch in pace.batches(rows):
        with pace.transaction():
            renew(lease)
            RunMetric.objects.bulk_create(
                [RunMetric(run_id=lease.run_id, step=step, name=name[:60], value=value) for step, name, value in batch],
                update_conflicts=True,
                unique_fields=["run", "name", "step"],
                update_fields=["value"],
            )


def succeed(lease: Lease, *, result: Mapping[str, Any], register: Callable[[], ModelVersion | None]) -> None:
    """End the run as succeeded; `register` stores its model in the same transaction. Raises LeaseLost."""
    with transaction.atomic():
        _end(lease, status=Status.SUCCEEDED, progress=1.0, activity="", result=dict(result))
        version = register()
        if version is not None:
            TrainingRun.objects.filter(pk=lease.run_id).update(produced=version)


def fail(lease: Lease, reason: StoredMessage) -> None:
    """End the run as failed. Raises LeaseLost."""
    with transaction.atomic():
        _end(lease, status=Status.FAILED, activity="", **_failure(reason))


def finish_cancelled(lease: Lease) -> None:
    """End a cancelled run whose process has stopped. Raises LeaseLost."""
    with transaction.atomic():
        _end(lease, status=Status.CANCELLED, activity="")


def _failure(reason: StoredMessage) -> dict[str, Any]:
    """The columns with the reason of a failure."""
    return {"error": in_english(reason.as_json()), "failure": reason.as_json()}


def _end(lease: Lease, **values: Any) -> None:
    lease.write(finished_at=timezone.now(), lease_token=None, lease_until=None, process_group=None, **values)
    send("rlhf.after_run", lease.run_id)


def retry(lease: Lease, reason: StoredMessage, *, activity: str, **values: Any) -> None:
    """Queue a run again whose process was interrupted, to resume from its checkpoint, with other `values` if any.

    It counts as an attempt: the last one of `max_attempts` ends the run as failed. Raises LeaseLost.
    """
    with transaction.atomic():
        run = lease.rows().select_related("project").first()
        if run is None:
            raise LeaseLost(f"run {lease.run_id} is not held by {lease.token} any more")
        audit.record(
            verb="run.interrupted",
            actor=None,
            subject=run,
            project=run.project,
            attempt=run.attempt,
            error=in_english(reason.as_json()),
        )
        if run.cancel_requested_at is not None:
            _end(lease, status=Status.CANCELLED, activity="")
        elif run.attempt >= run.max_attempts:
            _end(lease, status=Status.FAILED, activity="", **_failure(reason))
        else:
            _put_back(lease, activity=activity, **values)
            notify_worker(run)


RELEASED = gettext_noop("stopped with its worker; waiting to resume")


def release(lease: Lease, *, activity: str = RELEASED) -> None:
    """Queue the run again, to resume from its checkpoint: its worker is stopping, or has no disk for it. Not counted as
    an attempt."""
    with transaction.atomic():
        run = lease.rows().first()
        if run is None:
            raise LeaseLost(f"run {lease.run_id} is not held by {lease.token} any more")
        if run.cancel_requested_at is not None:
            _end(lease, status=Status.CANCELLED, activity="")
            return
        _put_back(lease, activity=activity, attempt=F("attempt") - 1)
        notify_worker(run)


def _put_back(lease: Lease, **values: Any) -> None:
    lease.write(
        status=Status.QUEUED,
        lease_token=None,
        lease_until=None,
        process_group=None,
        queued_at=timezone.now(),
        **values,
    )


def request_cancel(*, run: TrainingRun, by: User | None) -> None:
    """Cancel a queued run at once, or request it of the worker of a running one. Raises Refused when it has ended."""
    now = timezone.now()
    with transaction.atomic():
        rows = TrainingRun.objects.filter(pk=run.pk)
        queued = rows.filter(status__in=[Status.QUEUED, Status.LOST]).update(
            status=Status.CANCELLED, cancel_requested_at=now, finished_at=now, activity=""
        )
        asked = queued or rows.filter(status=Status.RUNNING, cancel_requested_at=None).update(cancel_requested_at=now)
        if not asked:
            run.refresh_from_db()
            if run.status == Status.RUNNING:
                return
            raise Refused(
                _("This run has ended already: it %(status)s.") % {"status": run.get_status_display().lower()}
            )
        audit.record(verb="run.cancelled", actor=by, subject=run, project=run.project)
        if queued:
            send("rlhf.after_run", run.pk)


def why_not_resumable(run: TrainingRun) -> str:
    """Why a run can't be resumed, for the reader; empty for one that can be."""
    if run.status == Status.SUCCEEDED:
        return _("This run has succeeded: there is nothing to resume.")
    if run.status not in (Status.FAILED, Status.CANCELLED):
        return _("This run has not ended.")
    if run.queue == TrainingRun.LIVE_QUEUE or run.options.get("requests"):
        return _("Nobody waits for these responses any more.")
    if run.iteration_id is not None:
        return _("Its round has ended without it. Clone the run, or start another round.")
    return ""


def resume(*, run: TrainingRun, by: User | None) -> None:
    """Queue a failed or cancelled run again, to go on from its last checkpoint with as many attempts as a new run.

    Raises Refused for one that can't be resumed, and beyond the limits of the project or of the workers' machine.
    """
    if reason := why_not_resumable(run):
        raise Refused(reason)
    refuse_too_many(run.project)
    inputs = sorted(run.run_inputs.select_related("version"), key=lambda item: item.role != RunInput.Role.MODEL)
    estimates.refuse_impossible(
        stage=run.stage,
        config=run.config,
        queue=run.queue,
        models=[item.version for item in inputs],
        snapshot=run.snapshot,
    )
    with transaction.atomic():
        ended = TrainingRun.objects.filter(pk=run.pk, status__in=[Status.FAILED, Status.CANCELLED])
        changed = ended.update(
            status=Status.QUEUED,
            queued_at=timezone.now(),
            attempt=0,
            cancel_requested_at=None,
            finished_at=None,
            activity=gettext_noop("waiting to resume from its checkpoint"),
            error="",
            failure={},
        )
        if changed != 1:
            raise Refused(_("Somebody has resumed this run already."))
        audit.record(verb="run.resumed", actor=by, subject=run, project=run.project)
        notify_worker(run)


def is_cancel_requested(lease: Lease) -> bool:
    """Raises LeaseLost when the run isn't this worker's any more."""
    asked = lease.rows().values_list("cancel_requested_at", flat=True).first()
    if asked is None and not lease.rows().exists():
        raise LeaseLost(f"run {lease.run_id} is not held by {lease.token} any more")
    return asked is not None


def reap(*, now: datetime | None = None) -> int:
    """Mark runs whose worker is silent or dead as lost and queue them again, at most `max_attempts` times."""
    now = now or timezone.now()
    running = TrainingRun.objects.filter(status=Status.RUNNING).select_related("project")
    # The lease of a process of this machine that has exited need not run out.
    silent = Q(lease_until__lt=now) | Q(worker__in=workers.dead_local_holders(running))
    return sum(_lose(run) for run in running.filter(silent))


def _lose(run: TrainingRun) -> bool:
    with transaction.atomic():
        held = TrainingRun.objects.filter(pk=run.pk, status=Status.RUNNING, lease_token=run.lease_token)
        # A lease that was renewed since it was read is not lost.
        if held.filter(lease_until=run.lease_until).update(status=Status.LOST, lease_token=None, lease_until=None) != 1:
            return False
        audit.record(
            verb="run.lost", actor=None, subject=run, project=run.project, worker=run.worker, attempt=run.attempt
        )
        lost = TrainingRun.objects.filter(pk=run.pk, status=Status.LOST)
        now = timezone.now()
        if run.cancel_requested_at is not None:
            lost.update(status=Status.CANCELLED, finished_at=now, activity="")
            send("rlhf.after_run", run.pk)
        elif run.attempt >= run.max_attempts:
            reason = StoredMessage("workers_lost", {"times": run.attempt, "worker": run.worker})
            lost.update(status=Status.FAILED, finished_at=now, activity="", **_failure(reason))
            send("rlhf.after_run", run.pk)
        else:
            activity = gettext_noop("lost its worker; waiting to resume")
            lost.update(status=Status.QUEUED, queued_at=now, activity=activity)
            notify_worker(run)
    return True


def resend(*, now: datetime | None = None) -> int:
    """Notify workers again of runs queued too long; fail those whose queue no worker consumed for NO_WORKER_LIMIT."""
    now = now or timezone.now()
    waiting = TrainingRun.objects.filter(was_long_ago("queued_at", now=now, after=RESEND_AFTER), status=Status.QUEUED)
    sent = 0
    for run in waiting.order_by("queued_at"):
        if workers.is_listening(run.queue):
            notify_worker(run)
            sent += 1
        elif run.queued_at < now - NO_WORKER_LIMIT:
            _give_up(run, now=now)
    return sent


def _give_up(run: TrainingRun, *, now: datetime) -> None:
    with transaction.atomic():
        reason = StoredMessage("no_worker", {"queue": run.queue, "hours": NO_WORKER_LIMIT // timedelta(hours=1)})
        queued = TrainingRun.objects.filter(pk=run.pk, status=Status.QUEUED)
        if queued.update(status=Status.FAILED, finished_at=now, activity="", **_failure(reason)) == 1:
            send("rlhf.after_run", run.pk)
