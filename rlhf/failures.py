"""Why a run failed, as a sentence for its page."""

import errno
import signal

from django.utils.translation import gettext_noop

from models_core.config import BadInput

DISK_FULL = gettext_noop("The disk is full. Free some space below the data folder, then start the run again.")
OUT_OF_MEMORY = gettext_noop(
    "Memory ran out. Take a smaller batch_size, micro_batch_tokens or max_length, or a machine with more memory."
)
KILLED = "Its process was killed by the system (signal 9), most likely because memory ran out."
LONGEST = 2_000


def of_child(*, returncode: int, log: str) -> str:
    """From the exit status of models_core and the end of its standard error, whose last line says what went wrong."""
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return f"{KILLED} Take a smaller batch_size or micro_batch_tokens, or a machine with more memory."
    if returncode < 0:
        return f"Its process ended by signal {-returncode} ({signal.strsignal(-returncode)})."
    if "MemoryError" in last or "out of memory" in last.lower() or "can't allocate memory" in last:
        return OUT_OF_MEMORY
    if "No space left on device" in last:
        return DISK_FULL
    return last[:LONGEST] or f"Its process ended with exit status {returncode} and said nothing."


def of_exception(error: Exception) -> str:
    """From what went wrong in the worker itself, before or after the process."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, BadInput):
        return str(error)
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error}."
    return f"Hone itself failed ({type(error).__name__}: {error}). The worker's log says where."[:LONGEST]
