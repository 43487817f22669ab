"""Child processes of a worker that run models_core: how they are started, signalled and never left behind.

Each has a session of its own, so that a signal to the worker's group is not one to it, and dies with the worker
(parent-death signal, see models_core.contract.runs.stopping).
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings

from models_core.contract.runs.failure_report import FILE_VARIABLE

WITHHELD = (
    "HONE_SECRET_KEY",
    "HONE_SECRET_KEY_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "REDIS_URL",
    "REDIS_URL_FILE",
)
"""Training needs no secrets."""
OF_STORAGE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Nor those of the storage, where they are the storage's: the worker fetches and publishes."""
LATER = 10
"""The nice value of what nobody waits for at a page: beside it, a web process gets ten times as much of a core."""


def start(
    arguments: Sequence[str],
    *,
    failure_file: Path | None = None,
    devices: Mapping[str, str] | None = None,
    **pipes: Any,
) -> subprocess.Popen[bytes]:
    """`python -m models_core` with these arguments; `pipes` are Popen's stdin, stdout and stderr.

    `failure_file`: the file for its failure (models_core.contract.runs.failure_report). `devices`: variables that name
    its GPUs.
    """
    withheld = (*WITHHELD, *OF_STORAGE) if settings.HONE_ARTEFACTS else WITHHELD
    environment = {name: value for name, value in os.environ.items() if name not in withheld}
    environment |= {
        "HONE_DATA": str(settings.HONE_DATA),
        "HONE_TRACKERS": ",".join(settings.HONE_TRACKERS),
        "HONE_PARENT_PID": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        **(devices or {}),
    }
    if failure_file is not None:
        failure_file.unlink(missing_ok=True)
        environment[FILE_VARIABLE] = str(failure_file)
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


def has_ended(child: subprocess.Popen[bytes], *, within: float) -> bool:
    """Wait for the end of a child for so many seconds. Popen's own wait would look twenty times a second."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=within)
    elif child.poll() is None:
        descriptor = os.pidfd_open(child.pid)
        try:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            waiting.poll(within * 1000)
        finally:
            os.close(descriptor)
    return child.poll() is not None


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal a child and its descendants, if they still run."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


@contextmanager
def sigterm_noted() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM came. Outside of this block SIGTERM ends the process at once."""
    received = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: received
    finally:
        signal.signal(signal.SIGTERM, previous)
