"""The processes of one run, as torchrun's environment variables describe them."""

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

STATUS_VARIABLE = "HONE_STATUS_FILE"
"""Environment variable: the file that the main process writes its exit status to."""
DIED = 128 + signal.SIGKILL
"""Exit status of a run of which a process was killed, as a shell reports it."""
LAUNCHED_VARIABLES = ("RANK", "WORLD_SIZE")


def count() -> int:
    """The number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that writes files and messages."""
    return rank() == 0


def log_main(sentence: str) -> None:
    """Write a line on standard error, from the main process alone."""
    if is_main():
        print(sentence, file=sys.stderr, flush=True)


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return all(name in os.environ for name in LAUNCHED_VARIABLES)


def report(status: int) -> int:
    """Pass the main process's exit status to the launching process; returns it."""
    path = os.environ.get(STATUS_VARIABLE)
    if path and is_launched() and is_main():
        Path(path).write_text(str(status))
        sys.stdout.flush()
    return status


def leave(status: int) -> NoReturn:
    """End this process with `status`.

    One of several does what is registered for its end, and goes: torch's threads and a connection whose other end is
    gone can print or crash while the interpreter is taken down, after the line that says how the run ended.
    """
    if is_launched():
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
