"""The Celery application: what wakes workers. The truth about a job is its database row (see rlhf.runs).

    celery -A config worker -Q default     snapshots, imports of answers, the loop, the reaper
    celery -A config worker -Q cpu -c 1    training and sampling, one at a time (gpu: one worker a GPU)
    celery -A config beat                  the clock
"""

import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

WEEK_SECONDS = 7 * 24 * 3600


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
        "beat_schedule_filename": str(settings.HONE_DATA / "celerybeat-schedule"),
        "beat_schedule": {
            name: {"task": f"rlhf.{name}", "schedule": seconds, "options": {"expires": seconds, "queue": "default"}}
            for name, seconds in [("tend_runs", 15.0), ("tend_loops", 30.0), ("tend_queue", 60.0)]
        },
    }


app = Celery("hone", include=["rlhf.tasks"])
app.add_defaults(job_settings)
