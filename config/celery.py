"""The Celery application. A message only notifies a worker: a job's database row is authoritative (rlhf.runs.runs).

celery -A config worker -Q default     snapshots, requests for responses, rounds of the loop, the reaper
celery -A config worker -Q cpu -c 1    training and sampling, one at a time (gpu: one worker a GPU)
celery -A config worker -Q live -c 1   live responses in chats, from a model that stays loaded
celery -A config beat                  the scheduler of the reaper and the loop
"""

import ctypes
import logging
import os
import signal
import sys
from typing import Any

from celery import Celery, bootsteps, signals

from config.monitoring import observers
from config.monitoring.log_lines import run_id
from config.serving import liveness

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

log = logging.getLogger(__name__)

WEEK_SECONDS = 7 * 24 * 3600
BROKER_CONNECT_SECONDS, BROKER_REPLY_SECONDS = 10.0, 20.0
PR_SET_PDEATHSIG = 1
RUN_TASKS = ("rlhf.execute_run", "rlhf.after_run")
"""Jobs whose first argument is a run."""


def job_settings() -> dict[str, Any]:
    """Read when Celery is first used: this module is imported before Django's settings are."""
    from django.conf import settings

    return {
        "broker_url": settings.CELERY_BROKER_URL,
        "broker_connection_retry_on_startup": True,
        # A message that isn't acknowledged for so long is delivered again: longer than the longest job.
        # By default a message to a broker behind a network that was cut waits for a quarter of an hour.
        "broker_transport_options": {
            "visibility_timeout": WEEK_SECONDS,
            "socket_connect_timeout": BROKER_CONNECT_SECONDS,
            "socket_timeout": BROKER_REPLY_SECONDS,
        },
        # Early acknowledgement: a run that dies with its worker is found by its lease, not by its message.
        "task_acks_late": False,
        # Without this a worker holds messages it can't start, and they ran twice after the visibility timeout.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 5.0,
        "worker_hijack_root_logger": False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": "default",
        "task_create_missing_queues": True,
        "timezone": "UTC",
        "beat_scheduler": "config.serving.scheduler:Scheduler",
        "beat_schedule": {
            name: {"task": f"rlhf.{name}", "schedule": seconds, "options": {"expires": seconds, "queue": "default"}}
            for name, seconds in [
                ("reap_runs", 15.0),
                ("advance_loops", 30.0),
                ("send_notifications", 15.0),
                ("advance_evaluations", 20.0),
                ("reap_queue", 60.0),
                ("refresh_consensus", 60.0),
                ("index_texts", 20.0),
                ("count_projects", 60.0),
                ("refresh_checks", 10.0),
                ("fold_measures", 5.0),
                ("link_audit_events", 60.0),
            ]
        },
    }


app = Celery("hone", include=["rlhf.tasks"])
app.add_defaults(job_settings)


class Heartbeat(bootsteps.StartStopStep):
    """The worker's main process records every few seconds that it is alive and which queues it consumes.

    In the database for everybody, and in a file for the supervisor of its machine.
    """

    # After the pool: a database connection must not be open when its children are forked.
    requires = {"celery.worker.components:Timer", "celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        from rlhf.runs.queues import workers

        self._queues = sorted(worker.app.amqp.queues.consume_from)
        self._draining = False
        self._beat(worker)
        self._entry = worker.timer.call_repeatedly(workers.BEAT_SECONDS, self._beat, (worker,))
        liveness.touch()
        self._liveness = worker.timer.call_repeatedly(liveness.TOUCH_SECONDS, liveness.touch)

    def stop(self, worker: Any) -> None:
        from rlhf.runs.queues import workers

        self._entry.cancel()
        self._liveness.cancel()
        self._write(workers.remove_heartbeat, name=worker.hostname)

    def _beat(self, worker: Any) -> None:
        from rlhf.runs.queues import workers

        pool = getattr(getattr(worker.pool, "_pool", None), "_pool", [])
        processes = [process.pid for process in pool]
        draining = self._write(workers.record_heartbeat, name=worker.hostname, queues=self._queues, processes=processes)
        if draining is not None and draining != self._draining and worker.consumer is not None:
            self._drain(worker.consumer, draining=draining)

    def _drain(self, consumer: Any, *, draining: bool) -> None:
        """Leave the messages of its queues to other workers, or consume them again."""
        for queue in self._queues:
            consumer.call_soon(consumer.cancel_task_queue if draining else consumer.add_task_queue, queue)
        self._draining = draining

    def _write(self, operation: Any, **arguments: Any) -> Any:
        from django.db import DatabaseError, connections

        try:
            return operation(**arguments)
        except DatabaseError:
            log.exception("The worker's heartbeat could not be written")
            return None
        finally:
            connections.close_all()


app.steps["worker"].add(Heartbeat)


@signals.worker_shutting_down.connect
def stop_pool_children(**kwargs: Any) -> None:
    """Running jobs are put back at once: a warm shutdown would wait for them to end."""
    from rlhf.runs.queues import stopping

    stopping.stop_worker()


@signals.worker_process_init.connect
def follow_worker(**kwargs: Any) -> None:
    """A pool child whose worker was killed gets SIGTERM, puts its job back, ends (Celery's own choice is SIGKILL)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@signals.worker_process_init.connect
def shorten_result_wait(**kwargs: Any) -> None:
    """A pool child waits one second, not billiard's thirty, for its last result to be read before it exits.

    A stopping worker reads no results, so a job that ended just then would keep it for all of that time. Nothing
    depends on such a result: the outcome of a job is in the database.
    """
    from billiard import pool

    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(1.0 / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)


@signals.worker_process_init.connect
def report_elsewhere(**kwargs: Any) -> None:
    """In the pool child, whose threads send the reports."""
    observers.start("hone-worker")


@signals.worker_process_shutdown.connect
def put_served_runs_back(**kwargs: Any) -> None:
    """A pool child ends without waiting for its threads."""
    from rlhf.runs.live_responses import served_threads

    served_threads.join()


@signals.worker_process_shutdown.connect
def send_reports(**kwargs: Any) -> None:
    observers.stop()


@signals.worker_process_init.connect
def activate_english(**kwargs: Any) -> None:
    """Columns such as `error` are in English; pages word their codes (annotate.data.stored_messages)."""
    from django.utils import translation

    translation.activate("en")


@signals.task_prerun.connect
def note_run(task: Any = None, args: Any = (), **kwargs: Any) -> None:
    """Log lines of a run's job carry its number."""
    if getattr(task, "name", "") in RUN_TASKS and args:
        run_id.set(str(args[0]))


@signals.task_postrun.connect
def forget_run(**kwargs: Any) -> None:
    run_id.set("")


@signals.worker_ready.connect
def reap_at_start(**kwargs: Any) -> None:
    """Runs that the last worker left behind are reaped now, not at the scheduler's next tick."""
    app.send_task("rlhf.reap_runs", queue="default")
