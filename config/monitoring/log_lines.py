"""Log lines that say which request and which run they belong to, as text or as JSON.

Django isn't set up yet when logging is, so this imports no models.
"""

import json
import logging
import re
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="")
run_id: ContextVar[str] = ContextVar("run_id", default="")

GIVEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
"""What a proxy may call a request; anything else gets an id of ours."""


def new_request_id(given: str | None) -> str:
    """The id of a request: the one that our own proxy gave it, if it did."""
    return given if given and GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


class ContextFilter(logging.Filter):
    """Notes on each record which request and run it was made in."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        record.run_id = run_id.get()
        return True


class LineFormatter(logging.Formatter):
    """Text: the ids stand in brackets behind the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        ids = [
            f"{name} {value}"
            for name in ("request", "run")
            if (value := getattr(record, f"{name}_id", "")) not in ("", None)
        ]
        return f"{line} [{', '.join(ids)}]" if ids else line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and where there are any request, run, view, status,
    milliseconds, error."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request": getattr(record, "request_id", ""),
            "run": getattr(record, "run_id", ""),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in entry.items() if value != ""}, ensure_ascii=False)
