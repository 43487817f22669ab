"""The Celery application: what wakes workers. The truth about a job is its database row (see rlhf.runs.runs).

celery -A config worker -Q default     snapshots, imports of answers, the loop, the reaper
celery -A config worker -Q cpu -c 1    training and sampling, one at a time (gpu: one worker a GPU)
celery -A config worker -Q live -c 1   live answers in chats, from a model that stays loaded
celery -A config beat                  the clock
"""

import ctypes
import logging
import os
import signal
import sys
from typing import Any

from celery import Celery, bootsteps, signals

from config import sign_of_life

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

log = logging.getLogger(__name__)

WEEK_SECONDS = 7 * 24 * 3600
PR_SET_PDEATHSIG = 1


def job_settings() -> dict[str, Any]:
    """Read when Celery is first used: this module is imported before Django's settings are."""
    from django.conf import settings

    return {
        "broker_url": settings.CELERY_BROKER_URL,
        "broker_connection_retry_on_startup": True,
        # A message that isn't acknowledged for so long is delivered again: longer than the longest job.
        "broker_transport_options": {"visibility_timeout": WEEK_SECONDS},
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
        "beat_scheduler": "config.scheduler:Scheduler",
        "beat_schedule": {
            name: {"task": f"rlhf.{name}", "schedule": seconds, "options": {"expires": seconds, "queue": "default"}}
            for name, seconds in [("reap_runs", 15.0), ("advance_loops", 30.0), ("reap_queue", 60.0)]
        },
    }


app = Celery("hone", include=["rlhf.tasks"])
app.add_defaults(job_settings)


class Heartbeat(bootsteps.StartStopStep):
    """The worker's main process says every few seconds that it is alive and which queues it listens to.

    It says so in the database to everybody, and by a file to the supervisor of its machine.
    """

    # After the pool: a database connection must not be open when its children are forked.
    requires = {"celery.worker.components:Timer", "celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        from rlhf.runs import workers

        self._beat(worker)
        self._entry = worker.timer.call_repeatedly(workers.BEAT_SECONDS, self._beat, (worker,))
        sign_of_life.give()
        self._sign = worker.timer.call_repeatedly(sign_of_life.TOUCH_SECONDS, sign_of_life.give)

    def stop(self, worker: Any) -> None:
        from rlhf.runs import workers

        self._entry.cancel()
        self._sign.cancel()
        self._write(workers.remove_heartbeat, name=worker.hostname)

    def _beat(self, worker: Any) -> None:
        from rlhf.runs import workers

        self._write(workers.record_heartbeat, name=worker.hostname, queues=sorted(worker.app.amqp.queues.consume_from))

    def _write(self, deed: Any, **arguments: Any) -> None:
        from django.db import DatabaseError, connections

        try:
            deed(**arguments)
        except DatabaseError:
            log.exception("The worker's heartbeat could not be written")
        finally:
            connections.close_all()


app.steps["worker"].add(Heartbeat)


@signals.worker_shutting_down.connect
def stop_pool_children(**kwargs: Any) -> None:
    """Running jobs are put back at once: a warm shutdown would wait for them to end."""
    from rlhf.runs import stopping

    stopping.stop_worker()


@signals.worker_process_init.connect
def follow_worker(**kwargs: Any) -> None:
    """A pool child whose worker was killed gets SIGTERM, puts its job back, ends (Celery's own choice is SIGKILL)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@signals.worker_process_init.connect
def shorten_result_wait(**kwargs: Any) -> None:
    """A pool child waits a second, not billiard's thirty, for its last result to be read before it ends.

    A worker that was told to stop no longer reads them, so a job that ended just then kept its worker for all of that
    time, and was killed with it. Nothing hangs on such a result: what came of a job is in the database.
    """
    from billiard import pool

    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(1.0 / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)


@signals.worker_process_init.connect
def activate_english(**kwargs: Any) -> None:
    """Workers store English; each page shows it in its reader's language (annotate.data.stored_messages)."""
    from django.utils import translation

    translation.activate("en")


@signals.worker_ready.connect
def reap_at_start(**kwargs: Any) -> None:
    """What a worker left behind at its last end is looked for now, not at the clock's next tick."""
    app.send_task("rlhf.reap_runs", queue="default")
