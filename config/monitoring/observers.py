"""What reports elsewhere, in the process that it is for: errors to Sentry, traces to a collector of OpenTelemetry.

Neither is imported, here or anywhere, in an installation that configures neither.
"""

import atexit
from contextlib import ExitStack
from typing import Any

from celery import signals

from config.monitoring import tracing
from config.monitoring.log_lines import request_id, run_id

TRACE, REQUEST = "hone_trace", "hone_request"
"""Headers of messages."""

_tasks: dict[str, tuple[ExitStack, Any]] = {}


def start(program: str) -> None:
    """program: hone-web or hone-worker. To be called after a fork."""
    from django.conf import settings

    if settings.HONE_SENTRY_DSN:
        from config.monitoring import error_reports

        error_reports.start(settings.HONE_SENTRY_DSN, program=program)
    if settings.HONE_OTLP_ENDPOINT:
        tracing.start(settings.HONE_OTLP_ENDPOINT, program=program, share=settings.HONE_TRACE_PERCENT)
        signals.before_task_publish.connect(_write_headers, dispatch_uid="hone.tracing")
        signals.task_prerun.connect(_begin_task, dispatch_uid="hone.tracing")
        signals.task_failure.connect(_fail_task, dispatch_uid="hone.tracing")
        signals.task_postrun.connect(_end_task, dispatch_uid="hone.tracing")
    if settings.HONE_SENTRY_DSN or settings.HONE_OTLP_ENDPOINT:
        atexit.register(stop)


def stop() -> None:
    """Send what waits, for a moment at most."""
    from django.conf import settings

    atexit.unregister(stop)
    if settings.HONE_SENTRY_DSN:
        from config.monitoring import error_reports

        error_reports.stop()
    for signal in (signals.before_task_publish, signals.task_prerun, signals.task_failure, signals.task_postrun):
        signal.disconnect(dispatch_uid="hone.tracing")
    tracing.stop()


def _write_headers(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Of a message that is sent in a request or a task (rlhf.runs.queues.outgoing_messages keeps their context)."""
    if headers is not None and (traceparent := tracing.headers().get("traceparent")):
        headers |= {TRACE: traceparent, REQUEST: request_id.get()}


def _begin_task(task_id: str = "", task: Any = None, args: Any = (), **kwargs: Any) -> None:
    sent = {**(task.request.headers or {}), **vars(task.request)}
    stack = ExitStack()
    span = stack.enter_context(
        tracing.task_span(
            task.name, traceparent=sent.get(TRACE), request=sent.get(REQUEST) or request_id.get(), run=run_id.get()
        )
    )
    _tasks[task_id] = (stack, span)


def _fail_task(task_id: str = "", **kwargs: Any) -> None:
    if task_id in _tasks:
        tracing.fail(_tasks[task_id][1])


def _end_task(task_id: str = "", task: Any = None, args: Any = (), **kwargs: Any) -> None:
    stack, span = _tasks.pop(task_id, (None, None))
    if stack is None:
        return
    if task.name == tracing.RUN_TASK and args:
        from rlhf.models import TrainingRun

        run = TrainingRun.objects.filter(pk=args[0]).values("stage", "status", "attempt").first()
        if run is not None:
            tracing.describe_run(span, **run)
    stack.close()
