"""Executes a training run in a child process.

The child is `python -m models_core STAGE ...` in a session of its own, never the forked pool worker: CUDA can't be
initialised after a fork, and an out-of-memory kill must not take the worker. It dies with this process (parent-death
signal). Meanwhile its files are read, the lease is renewed, and a cancellation is passed on: SIGTERM, time to save a
checkpoint, SIGKILL.
"""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections
from django.utils.translation import gettext_noop

from annotate.artefacts.bucket import StorageAway
from annotate.errors import Refused
from models_core.contract.errors import BadInput
from rlhf.models import TrainingRun
from rlhf.runs import estimates, failures, runs
from rlhf.runs.execution import children, run_command
from rlhf.runs.execution.machine import MemoryWatch
from rlhf.runs.execution.monitoring import gpu_devices
from rlhf.runs.execution.monitoring.lease_watch import LeaseWatch
from rlhf.runs.execution.monitoring.stall_detection import StallDetector
from rlhf.runs.execution.monitoring.system_metrics import SystemMetrics
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.live_responses import live, served_threads
from rlhf.runs.planning import durations
from rlhf.runs.queues import gpu_workers, waiting_order, workers
from rlhf.runs.queues.stopping import worker_is_stopping
from rlhf.runs.runs import Lease, LeaseLost
from rlhf.runs.stages.registry import STAGE_SPECS
from rlhf.runs.storage import run_artefacts

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
REPORT_SECONDS = 1.0
"""Between two reports to the database, which take time from the child on the same cores."""
RENEW_SECONDS = 10.0
CANCEL_GRACE_SECONDS = 120.0
"""Longer than one rollout iteration plus saving a checkpoint: rollouts look for the signal between tokens."""
SHUTDOWN_GRACE_SECONDS = 2.4
STOPPED_WITH_CHECKPOINT = 3
WAITING_FOR_DISK = gettext_noop("waiting for free disk space")
PREPARING = gettext_noop("preparing")
STORING = gettext_noop("storing the result")
WAITING_FOR_STORAGE = gettext_noop("waiting for the storage")
STORAGE_PATIENCE_SECONDS = 300.0
STORAGE_TRY_SECONDS = 5.0
Result = TypeVar("Result")


def execute(run_id: int) -> None:
    """Claim the run that is first in the queue of this one and bring it to its end, or queue it again.

    Does nothing when none waits, or while this worker drains. Of live chats it is the run itself; a reply of a served
    model is left to a thread.
    """
    if worker_is_stopping() or workers.is_draining():
        return
    if served_threads.is_for_them(run_id):
        served_threads.submit(lambda: _execute(run_id))
        return
    end_leftovers()
    if not _waits_for_disk(run_id):
        _execute(run_id)


def _execute(run_id: int) -> None:
    lease = _claim(run_id)
    if lease is None:
        return
    run = TrainingRun.objects.select_related("project", "snapshot").get(pk=lease.run_id)
    try:
        _attempt(run, lease)
    except LeaseLost:
        log.warning("Lost the lease of run %s; nothing of it is written any more.", run_id)
    except (OperationalError, InterfaceError):
        # Its work is in its files. The reaper finds it when the lease is over, and an attempt goes on from there.
        log.exception("The database was away while run %s was written; its lease runs out", run_id)


def _attempt(run: TrainingRun, lease: Lease) -> None:
    """Raises LeaseLost, and the database's errors."""
    try:
        if run.queue == TrainingRun.LIVE_QUEUE:
            live.execute(run, lease)
        else:
            _supervise(run, lease)
    except (LeaseLost, OperationalError, InterfaceError):
        raise
    except StorageAway as error:
        if worker_is_stopping():
            return runs.release(lease)
        if run.queue == TrainingRun.LIVE_QUEUE:  # somebody waits for it
            return runs.fail(lease, failures.of_exception(error))
        runs.retry(lease, failures.of_exception(error), activity=WAITING_FOR_STORAGE)
    except (Refused, BadInput) as error:
        runs.fail(lease, failures.of_exception(error))
    except Exception as error:
        log.exception("Run %s failed in its worker", run.pk)
        runs.fail(lease, failures.of_exception(error))
    return None


def _waits_for_disk(run_id: int) -> bool:
    """Whether the disk is too full to begin a training. The first run of the queue says so; messages are sent again.

    The run that the message names may have ended long ago.
    """
    queue = TrainingRun.objects.filter(pk=run_id).values_list("queue", flat=True).first()
    if not queue or queue == TrainingRun.LIVE_QUEUE or not estimates.is_disk_full():
        return False
    first = TrainingRun.objects.filter(pk=waiting_order.first(queue) or 0, status=TrainingRun.Status.QUEUED)
    if first.exclude(activity=WAITING_FOR_DISK).update(activity=WAITING_FOR_DISK):
        log.warning("Runs of the queue %s wait for free disk space below the data folder", queue)
    return True


def _claim(run_id: int) -> Lease | None:
    queue = TrainingRun.objects.filter(pk=run_id).values_list("queue", flat=True).first()
    if queue == TrainingRun.LIVE_QUEUE:
        return runs.claim(run_id=run_id, worker=workers.lease_holder())
    while queue and (first := waiting_order.first(queue)) is not None:
        if (lease := runs.claim(run_id=first, worker=workers.lease_holder())) is not None:
            return lease  # else another worker was faster
    return None


def _supervise(run: TrainingRun, lease: Lease) -> None:
    def heartbeat() -> None:
        runs.renew(lease)

    files = RunFiles(run)
    runs.renew(lease, folder=files.relative, activity=PREPARING)
    if estimates.is_disk_full():  # since it was claimed
        return runs.release(lease, activity=WAITING_FOR_DISK)
    _patiently(lease, PREPARING, lambda: run_artefacts.fetch(files, heartbeat=heartbeat))
    files.make()
    command = _patiently(lease, PREPARING, lambda: run_command.prepare(run, files, heartbeat=heartbeat))
    _patiently(lease, PREPARING, lambda: run_artefacts.publish_inputs(files, heartbeat=heartbeat))
    if not run_command.is_finished(run, files):
        with child_process(command.arguments, files, devices=_devices(run)) as child:
            began = time.monotonic()
            runs.renew(lease, process_group=child.pid, activity=command.activity)
            with LeaseWatch(child, renewed=began) as watch:
                monitor = _ChildMonitor(child=child, lease=lease, watch=watch, files=files, command=command)
                ending = monitor.until_ended()
        monitor.publish_end(succeeded=ending == "ended" and child.returncode == 0)
        if ending == "cancelled":
            return runs.finish_cancelled(lease)
        if ending == "released" or child.returncode == STOPPED_WITH_CHECKPOINT:
            return runs.release(lease)
        if ending == "stalled":
            return runs.retry(lease, failures.STALLED, activity=failures.STALLED_ACTIVITY)
        if child.returncode != 0:
            return failures.end(
                lease, returncode=child.returncode, failure=files.failure(), memory_ran_out=monitor.memory.ran_out()
            )
    runs.renew(lease, process_group=None, activity=STORING)
    result = STAGE_SPECS[run.stage].collect(run, lease, files)
    if (seconds := files.seconds_per_step()) is not None:
        result |= {durations.MEASURE: seconds}
    _patiently(lease, STORING, lambda: run_artefacts.publish_result(files, heartbeat=heartbeat))
    notes = [note.as_json() for note in command.notes]
    runs.succeed(lease, result=result | {"notes": notes}, register=lambda: run_command.register(run, files, result))
    return None


def _patiently(lease: Lease, activity: str, action: Callable[[], Result]) -> Result:
    """Do something with the storage, again and again while it is away for some minutes. `activity` is shown after that.

    Raises StorageAway after them, and at once for a run that is to be cancelled or whose worker is stopping.
    """
    until, has_waited = time.monotonic() + STORAGE_PATIENCE_SECONDS, False
    while True:
        try:
            done = action()
        except StorageAway as error:
            if time.monotonic() > until or worker_is_stopping() or runs.is_cancel_requested(lease):
                raise
            log.warning("Run %s waits for the storage: %s", lease.run_id, error)
            runs.renew(lease, activity=WAITING_FOR_STORAGE)
            has_waited = True
            time.sleep(STORAGE_TRY_SECONDS)
        else:
            if has_waited:
                runs.renew(lease, activity=activity)
            return done


@contextmanager
def child_process(
    arguments: list[str], files: RunFiles, *, devices: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The child in a session of its own; its process group is killed at the end."""
    with files.log.open("ab") as errors, files.output.open("wb") as output:
        child = children.start(
            arguments,
            failure_file=files.failure_file,
            devices=devices,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
    children.give_way(child)
    try:
        yield child
    finally:
        children.signal_group(child.pid, signal.SIGKILL)
        child.wait()


def _devices(run: TrainingRun) -> dict[str, str]:
    """Of a run of the queue gpu: as many of this worker's GPUs as it has processes."""
    if run.queue != gpu_workers.QUEUE:
        return {}
    return gpu_devices.for_processes(gpu_workers.processes_of(run.stage, run.config))


class _ChildMonitor:
    """Follows a child from its start to its end."""

    def __init__(
        self,
        *,
        child: subprocess.Popen[bytes],
        lease: Lease,
        watch: LeaseWatch,
        files: RunFiles,
        command: run_command.Command,
    ) -> None:
        self.child = child
        self.lease = lease
        self.watch = watch
        self.files = files
        self.command = command
        self.renewed = time.monotonic()
        self.reported = 0.0
        self.shown: dict[str, Any] = {}
        self.stopping = ""
        self.kill_at = 0.0
        self.stall = StallDetector(session=child.pid, folders=[files.path], ignored=files.system.parent)
        self.memory = MemoryWatch()
        self.system = SystemMetrics(session=child.pid, path=files.system)
        self.progress = run_artefacts.Progress(files, is_held=self._is_held)

    def until_ended(self) -> str:
        """ "ended", "cancelled", "released" because this worker is stopping, or "stalled".

        Raises LeaseLost, and Refused when the disk is nearly full.
        """
        with children.sigterm_noted() as stop_requested, self.progress:
            while not self._has_ended():
                self.memory.look()
                self.system.look()
                if stop_requested() or worker_is_stopping():
                    self._stop("released", grace=SHUTDOWN_GRACE_SECONDS)
                self.progress.look()
                if not self.stopping:
                    estimates.refuse_full_disk()
                    if self.stall.is_stalled():
                        log.warning("The process of run %s has stalled and is killed.", self.lease.run_id)
                        return "stalled"
                if time.monotonic() - self.reported >= REPORT_SECONDS:
                    self._exchange()
                if self.stopping and time.monotonic() > self.kill_at:
                    children.signal_group(self.child.pid, signal.SIGKILL)
        self._report()
        # A child that finished before it saw the signal has succeeded.
        if self.child.returncode == 0:
            return "ended"
        return self.stopping or ("released" if self.watch.has_stopped else "ended")

    def publish_end(self, *, succeeded: bool) -> None:
        """Wait for what is being published; of a run that another host may go on with, publish the rest."""

        def heartbeat() -> None:
            runs.renew(self.lease)
            self.renewed = time.monotonic()

        self.progress.wait(heartbeat=heartbeat)
        if not succeeded:
            self.progress.publish(heartbeat=heartbeat)

    def _is_held(self) -> bool:
        return time.monotonic() - self.renewed < runs.LEASE.total_seconds() / 2

    def _has_ended(self) -> bool:
        return children.has_ended(self.child, within=TICK_SECONDS)

    def _stop(self, ending: str, *, grace: float) -> None:
        """Ask the child to save and exit. A stopping worker doesn't wait for the long grace of a cancelled run."""
        deadline = time.monotonic() + grace
        if not self.stopping:
            children.signal_group(self.child.pid, signal.SIGTERM)
            self.stopping, self.kill_at = ending, deadline
        self.kill_at = min(self.kill_at, deadline)

    def _exchange(self) -> None:
        """Tell the database what is new, and ask it for a wish to cancel."""
        self.reported = time.monotonic()
        try:
            close_old_connections()
            self._report()
            if runs.is_cancel_requested(self.lease):
                self._stop("cancelled", grace=CANCEL_GRACE_SECONDS)
        except DatabaseError:
            # The database may be restarting. While the lease lasts nobody else takes the run; before it is over
            # `watch` ends the child.
            log.exception("Run %s could not be written", self.lease.run_id)

    def _report(self) -> None:
        """Write what is new, and renew the lease when it is time. Raises LeaseLost."""
        rows = self.files.new_metrics()
        if rows:
            runs.record_metrics(self.lease, rows)
        seen: dict[str, Any] = {"log": self.files.log_tail()[-runs.LOG_CHARACTERS :]}
        if (progress := self.files.progress()) is not None:
            seen["progress"] = progress
        seen |= self._activity()
        changed = {name: value for name, value in seen.items() if self.shown.get(name) != value}
        if changed or rows or time.monotonic() - self.renewed > RENEW_SECONDS:
            began = time.monotonic()
            runs.renew(self.lease, **changed)
            self.renewed = began
            self.watch.renewed(began)
            self.shown |= changed

    def _activity(self) -> dict[str, Any]:
        if self.stopping:
            return {"activity": gettext_noop("stopping: saving a checkpoint")}
        if self.command.base_model and not self.files.is_started:
            progress = run_command.base_model_progress(self.command.base_model)
            if progress is not None:
                return {"activity": run_command.FETCHING_BASE_MODEL, "progress": progress}
        if self.shown.get("activity") == run_command.FETCHING_BASE_MODEL:
            # The model is there: from now on it is the command's own progress.
            return {"activity": self.command.activity, "progress": self.files.progress() or 0.0}
        return {}


def end_leftovers() -> None:
    """Kill process groups that dead workers of this machine left behind, before another run is claimed here."""
    prefix = workers.host() + "/"
    holders = TrainingRun.objects.filter(process_group__isnull=False, worker__startswith=prefix)
    dead = set(workers.dead_local_holders(holders))
    for run in holders.filter(worker__in=dead):
        group = run.process_group
        if group is not None and _is_of_run(group, RunFiles(run).path):
            log.warning("Ending the process group %s that a dead worker of run %s left behind", group, run.pk)
            children.signal_group(group, signal.SIGKILL)


def _is_of_run(process_id: int, folder: Path) -> bool:
    """Whether the process is models_core at work in the run's folder: process ids are used again."""
    try:
        arguments = Path(f"/proc/{process_id}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return False
    return "models_core" in arguments and any(word.startswith(f"{folder}/") for word in arguments)
