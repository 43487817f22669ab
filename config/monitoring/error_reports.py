"""Errors to Sentry, where HONE_SENTRY_DSN names a server; nothing here is imported else.

What the log has a stack trace of is reported: a request or a task that failed, and what code caught and logged. A
report is built anew from an allowed list (`cleaned`): which exception, where in the code, in which request, run and
view. Messages of exceptions and values of variables are left out, since prompts, responses and names are in them; the
log on the machine has them under the same request.
"""

import logging
from collections.abc import Mapping
from typing import Any

import sentry_sdk

from config.monitoring.log_lines import request_id, run_id
from config.web.log_filters import ExpectedErrorFilter

FRAME = ("filename", "function", "module", "lineno", "context_line", "pre_context", "post_context", "in_app")
TAGS = ("request", "run", "logger", "program")
SECONDS_TO_SEND = 2.0


def start(dsn: str, *, program: str) -> None:
    """After a fork: the client sends from a thread. program: hone-web or hone-worker."""
    sentry_sdk.init(
        dsn=dsn,
        default_integrations=False,
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        server_name="",
        shutdown_timeout=SECONDS_TO_SEND,
        before_send=cleaned,
    )
    sentry_sdk.get_isolation_scope().set_tag("program", program)
    handler = ReportHandler(level=logging.ERROR)
    # A database that doesn't respond fails every request; the log has one line for each.
    handler.addFilter(ExpectedErrorFilter())
    logging.getLogger().addHandler(handler)


def stop() -> None:
    """Send what waits, and report nothing more."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, ReportHandler)]:
        root.removeHandler(handler)
    sentry_sdk.get_client().close(timeout=SECONDS_TO_SEND)
    sentry_sdk.init()


class ReportHandler(logging.Handler):
    """Reports what is logged with a stack trace."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            with sentry_sdk.new_scope() as scope:
                scope.set_tag("logger", record.name)
                scope.set_tag("request", request_id.get())
                scope.set_tag("run", run_id.get())
                sentry_sdk.capture_exception(record.exc_info[1])


def cleaned(event: Mapping[str, Any], hint: Any) -> Any:
    """The event with nothing in it but what is listed here."""
    values = (event.get("exception") or {}).get("values") or []
    return {
        **{name: event[name] for name in ("event_id", "timestamp", "platform", "level", "sdk") if name in event},
        "tags": {name: value for name, value in (event.get("tags") or {}).items() if name in TAGS and value},
        "exception": {"values": [_exception(each) for each in values]},
    }


def _exception(value: Mapping[str, Any]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or []
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "stacktrace": {"frames": [{name: frame[name] for name in FRAME if name in frame} for frame in frames]},
    }
