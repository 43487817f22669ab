"""Threads of the live worker for replies of served models: who waits for a server must not hold up anybody else.

A run waits in memory here until one of them is free, and is claimed by it then; one whose worker dies meanwhile is
still queued in the database. Of a stopping worker they put their runs back.
"""

import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.db import connections
from django.utils import translation

from rlhf.models import TrainingRun
from rlhf.playground import live_replies
from rlhf.runs.queues import workers
from rlhf.runs.queues.stopping import worker_is_stopping

MOST_AT_ONCE = 16
STOP_SECONDS = 3.0

log = logging.getLogger(__name__)

_pool: ThreadPoolExecutor | None = None
_open: set[Future[None]] = set()
_lock = threading.Lock()


def is_for_them(run_id: int) -> bool:
    """Whether a run is a reply of a served model."""
    options = TrainingRun.objects.filter(pk=run_id, queue=TrainingRun.LIVE_QUEUE).values_list("options", flat=True)
    return live_replies.ENDPOINT in (options.first() or {})


def submit(work: Callable[[], None]) -> None:
    """Do it in the next thread that is free."""
    global _pool  # made by the first call, within the pool child: threads don't survive a fork
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="served")
        context = contextvars.copy_context()
        future = _pool.submit(context.run, _do, work)
        _open.add(future)
    future.add_done_callback(_open.discard)


def join(seconds: float = STOP_SECONDS) -> None:
    """Wait for what was begun, such as runs that a stopping worker puts back."""
    wait(list(_open), timeout=seconds)


def _do(work: Callable[[], None]) -> None:
    try:
        if worker_is_stopping() or workers.is_draining():  # since it was submitted
            return
        with translation.override("en"):  # as in all workers; it is each thread's own
            work()
    except Exception:  # which the future would keep to itself
        log.exception("A thread for replies of served models failed")
    finally:
        connections.close_all()
