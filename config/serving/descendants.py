"""Processes below this one: found, adopted when their own parent dies, and ended."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on a descendant whose parent dies becomes a child of this process instead of init's (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(process: int) -> list[int]:
    """Ids of the processes below one, nearest first, those that only wait to be reaped too. Empty away from Linux."""
    found = []
    generation = children(process)
    while generation:
        found += generation
        generation = [grandchild for child in generation for grandchild in children(child)]
    return found


def group(process: int) -> int:
    """The process group that one belongs to, which is the id of its first process; 0 where it has ended."""
    try:
        return os.getpgid(process)
    except ProcessLookupError:
        return 0


def kill(processes: list[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def children(process: int) -> list[int]:
    """Ids of the processes that one started or adopted."""
    found: list[int] = []
    try:
        for listing in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(word) for word in listing.read_text(encoding="ascii").split()]
    except OSError:  # it ended while it was read
        pass
    return found


def reap(process: int) -> None:
    """Let an adopted child that has ended go; one that still runs stays."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)
