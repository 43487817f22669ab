"""Why a run failed, as a sentence for its page.

Workers speak English; pages show these in the reader's language (see annotate.stored_sentences).
"""

import errno
import signal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from models_core.config import BadInput

DISK_FULL = gettext_noop("The disk is full. Free some space below the data folder, then start the run again.")
OUT_OF_MEMORY = gettext_noop(
    "Memory ran out. Take a smaller batch_size, micro_batch_tokens or max_length, or a machine with more memory."
)
KILLED = gettext_noop(
    "Its process was killed by the system (signal 9), most likely because memory ran out. "
    "Take a smaller batch_size or micro_batch_tokens, or a machine with more memory."
)
LONGEST = 2_000


def of_child(*, returncode: int, log: str) -> str:
    """From the exit status of models_core and the end of its standard error, whose last line says what went wrong."""
    last = next((line.strip() for line in reversed(log.split("\n")) if line.strip()), "")
    if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return KILLED
    if returncode < 0:
        name = signal.strsignal(-returncode)
        return _("Its process ended by signal %(number)s (%(name)s).") % {"number": -returncode, "name": name}
    if "MemoryError" in last or "out of memory" in last.lower() or "can't allocate memory" in last:
        return OUT_OF_MEMORY
    if "No space left on device" in last:
        return DISK_FULL
    if not last:
        return _("Its process ended with exit status %(status)s and said nothing.") % {"status": returncode}
    return last[:LONGEST]


def of_exception(error: Exception) -> str:
    """From what went wrong in the worker itself, before or after the process."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, BadInput):
        return str(error)
    if isinstance(error, OSError):
        return _("A file could not be read or written: %(error)s.") % {"error": error}
    what = f"{type(error).__name__}: {error}"[:LONGEST]
    return _("Hone itself failed (%(error)s). The worker's log says where.") % {"error": what}
