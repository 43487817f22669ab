"""Hone's Celery with one task more: how long a pool child waits for a result that nobody reads."""

import time
from pathlib import Path
from types import SimpleNamespace

from billiard import Value, pool

from config.celery import app

__all__ = ["app"]


@app.task(name="tests.wait_for_a_reader")
def wait_for_a_reader(reply: str) -> None:
    """Writes down whether the result was read, and the seconds until the child would have ended."""
    child = SimpleNamespace(on_ready_counter=Value("i", 0))
    began = time.monotonic()
    was_read = pool.Worker._ensure_messages_consumed(child, completed=1)
    Path(reply).write_text(f"{was_read} {time.monotonic() - began}")
