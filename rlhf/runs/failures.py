"""Why a run failed, as a sentence for its page, and whether it is tried again.

Workers speak English; pages show these in the reader's language (see annotate.data.stored_messages).
"""

import errno
import signal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from models_core.contract.errors import BadInput
from rlhf.runs import machine, runs
from rlhf.runs.runs import Lease

DISK_FULL = gettext_noop("The disk is full. Free some space below the data folder, then start the run again.")
OUT_OF_MEMORY = gettext_noop(
    "Memory ran out. Take a smaller batch_size, max_tokens_per_forward or max_length, or a machine with more memory."
)
"""Said of a Python or CUDA error, and of a process that the kernel ended while its count of such kills rose."""
STALLED = gettext_noop(
    "Its process stopped making progress in each of its attempts and was ended. The end of its log says where it was."
)
STALLED_WAITS = gettext_noop("its process stopped making progress, waits to go on from its checkpoint")
INTERRUPTED_WAITS = gettext_noop("its process was ended from outside, waits to go on from its checkpoint")
KILLED = gettext_noop(
    "Its process was killed (signal 9) in each of its attempts. This system doesn’t say whether memory ran out."
)
LONGEST = 2_000


def end(lease: Lease, *, returncode: int, log: str, memory_ran_out: bool) -> None:
    """Decide what becomes of a run whose process ended with another status than 0. Raises LeaseLost.

    A process that was ended by a signal while the kernel had memory left may do better at its next attempt; one that
    ran out of memory, or that said what is wrong, would only fail again.
    """
    number = signal_of(returncode)
    if number == signal.SIGKILL and memory_ran_out:
        runs.fail(lease, error=OUT_OF_MEMORY)
    elif number:
        runs.retry(lease, error=of_signal(number), activity=INTERRUPTED_WAITS)
    else:
        runs.fail(lease, error=of_child(returncode=returncode, log=log))


def signal_of(returncode: int) -> int:
    """The number of the signal that ended a process, as Popen or a shell in between reports it; 0 for none."""
    if returncode < 0:
        return -returncode
    return returncode - 128 if 128 < returncode <= 128 + signal.SIGRTMAX else 0


def of_signal(number: int) -> str:
    """Of a process that a signal ended in its last attempt too."""
    if number == signal.SIGKILL and machine.oom_kills() is None:
        return KILLED
    return _(
        "Its process was ended by signal %(number)s (%(name)s) in each of its attempts. The kernel reports no lack of "
        "memory."
    ) % {"number": number, "name": signal.strsignal(number) or "?"}


def of_child(*, returncode: int, log: str) -> str:
    """From the exit status of models_core and the end of its standard error, whose last line says what went wrong."""
    last = next((line.strip() for line in reversed(log.split("\n")) if line.strip()), "")
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
