"""Child processes of a worker that run models_core: how they are started, signalled and never left behind.

Each has a session of its own, so that a signal to the worker's group is not one to it, and dies with the worker
(parent-death signal, see models_core.contract.stopping).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings

WITHHELD = (
    "HONE_SECRET_KEY",
    "HONE_SECRET_KEY_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "REDIS_URL",
    "REDIS_URL_FILE",
)
"""Training needs no secrets."""
LATER = 10
"""The nice value of what nobody waits for at a page: beside it, a web process gets ten times as much of a core."""


def start(arguments: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
    """`python -m models_core` with these arguments; `pipes` are Popen's stdin, stdout and stderr."""
    environment = {name: value for name, value in os.environ.items() if name not in WITHHELD}
    environment |= {
        "HONE_DATA": str(settings.HONE_DATA),
        "HONE_PARENT_PID": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "models_core", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        start_new_session=True,
        **pipes,
    )


def give_way(child: subprocess.Popen[bytes]) -> None:
    """Lower the priority of a child, and of its session where the kernel schedules sessions, below the web's."""
    with suppress(ProcessLookupError):  # it has ended already
        os.setpriority(os.PRIO_PGRP, child.pid, LATER)
    with suppress(OSError):  # another system, or another way of sharing
        Path(f"/proc/{child.pid}/autogroup").write_text(f"{LATER}\n")


def signal_group(group: int, number: signal.Signals) -> None:
    """To a child and everything it started; nothing happens where they are gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


@contextmanager
def sigterm_noted() -> Iterator[Callable[[], bool]]:
    """While a child works, SIGTERM to this process means: put the run back. Otherwise it ends the process at once."""
    told = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: told
    finally:
        signal.signal(signal.SIGTERM, previous)
