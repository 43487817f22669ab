"""A part of the benchmark in a process of its own: one that hangs or breaks the card ends, and the others go on.

The process is forked from one that has imported everything and touched no card: it starts at once. Where an import has
touched the card all the same, a fork could not use it, and processes are started anew ("spawn").
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], Iterator[Any]]
"""Yields what it finds, piece by piece. It can be pickled: a function of a module, or a partial of one."""
METHODS = ("fork", "spawn")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a part ended: `reason` is empty where it came to its end."""

    reason: str
    seconds: float


def follow(work: Work, *, seconds: float, method: str = METHODS[0]) -> Iterator[Any]:
    """What the work yields in a child process, then an `Ended`, after at most about `seconds`."""
    start = time.monotonic()
    context: Any = multiprocessing.get_context(method)
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(work, sending))
    child.start()
    sending.close()
    reason = None
    try:
        while reason is None:
            left = start + seconds - time.monotonic()
            if not receiving.poll(max(left, 0.0)):
                reason = f"out of time after {seconds:.0f} s"
                break
            try:
                kind, value = receiving.recv()
            except EOFError:
                child.join()
                reason = f"its process ended with {child.exitcode}"
                break
            if kind == "ended":
                reason = value
            else:
                yield value
    finally:
        _end(child)
    yield Ended(reason=reason, seconds=time.monotonic() - start)


def _run(work: Work, sending: Connection) -> None:
    os.setpgid(0, 0)  # what it starts ends with it
    os.dup2(2, 1)  # what recipes say is not the table
    reason = ""
    try:
        for value in work():
            sending.send(("found", value))
    except BaseException as error:
        lines = str(error).strip().split("\n")
        reason = f"{type(error).__name__}: {lines[0]}"
    sending.send(("ended", reason))
    sending.close()
    sys.stderr.flush()
    os._exit(0)


def _end(child: Any) -> None:
    """End a child and all that it has started."""
    if child.exitcode is None:
        child.join(0.2)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
