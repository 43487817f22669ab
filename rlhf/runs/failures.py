"""Why a run failed, as a stored message (a code and values), and whether it is tried again.

models_core reports a code with its message too (models_core.contract.runs.failure_report): nothing is recognised by the
words of a log.
"""

import errno
import signal
from typing import Any

from django.utils.translation import gettext_noop

from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from models_core.contract.errors import BadInput
from models_core.contract.runs import failure_report
from rlhf.models import RunInput
from rlhf.runs import estimates, runs
from rlhf.runs.execution import machine, memory_retries
from rlhf.runs.execution.monitoring import gpu_devices
from rlhf.runs.queues import gpu_workers
from rlhf.runs.runs import Lease

STALLED = StoredMessage("stalled")
OUT_OF_MEMORY = StoredMessage("out_of_memory")
STALLED_ACTIVITY = gettext_noop("stalled; waiting to resume from its checkpoint")
INTERRUPTED_ACTIVITY = gettext_noop("interrupted; waiting to resume from its checkpoint")
MAX_MESSAGE = 2_000
CODES = {
    failure_report.OUT_OF_MEMORY: "out_of_memory",
    failure_report.DISK_FULL: "disk_full",
}
"""Failures of models_core that Hone words itself; the others carry a sentence."""


def end(lease: Lease, *, returncode: int, failure: dict[str, Any], memory_ran_out: bool) -> None:
    """Fail or retry a run whose process ended with another status than 0. Raises LeaseLost.

    A process that was ended by a signal while the kernel had memory left may succeed in its next attempt, and one that
    ran out of memory in smaller steps; one that reported another error would only fail again.
    """
    number = signal_of(returncode)
    reason = of_child(returncode=returncode, failure=failure)
    if number == signal.SIGKILL and memory_ran_out:
        memory_retries.retry(lease, OUT_OF_MEMORY)
    elif not number and reason == OUT_OF_MEMORY:
        memory_retries.retry(lease, out_of_memory(lease))
    elif number:
        runs.retry(lease, of_signal(number), activity=INTERRUPTED_ACTIVITY)
    else:
        runs.fail(lease, reason)


def out_of_memory(lease: Lease) -> StoredMessage:
    """Of a process that was refused memory: beside a GPU's, what its run was estimated to need at the least."""
    run = lease.rows().prefetch_related("run_inputs__version").first()
    gpus = [reading["memory"] for reading in gpu_devices.of_this_process().readings()]
    if run is None or run.queue != gpu_workers.QUEUE or not gpus:
        return OUT_OF_MEMORY
    models = sorted(run.run_inputs.all(), key=lambda item: item.role != RunInput.Role.MODEL)
    estimate = estimates.of(stage=run.stage, config=run.config, models=[item.version for item in models])
    if estimate is None:
        return OUT_OF_MEMORY
    needed = estimate.memory // gpu_workers.processes_of(run.stage, run.config)
    return StoredMessage("out_of_gpu_memory", {"needed": {"bytes": needed}, "offered": {"bytes": min(gpus)}})


def signal_of(returncode: int) -> int:
    """The number of the signal that ended a process, as Popen or a shell in between reports it; 0 for none."""
    if returncode < 0:
        return -returncode
    return returncode - 128 if 128 < returncode <= 128 + signal.SIGRTMAX else 0


def of_signal(number: int) -> StoredMessage:
    """Of a process that a signal ended in its last attempt too."""
    if number == signal.SIGKILL and machine.oom_kills() is None:
        return StoredMessage("killed")
    return StoredMessage("ended_by_signal", {"number": number, "name": signal.strsignal(number) or "?"})


def of_child(*, returncode: int, failure: dict[str, Any]) -> StoredMessage:
    """From what models_core reported ({} for nothing) and its exit status."""
    code = failure.get("code")
    if isinstance(code, str) and code in CODES:
        return StoredMessage(CODES[code])
    if isinstance(message := failure.get("message"), str) and message:
        return StoredMessage("process_message", {"message": message[:MAX_MESSAGE]})
    return StoredMessage("ended_silently", {"status": returncode})


def of_exception(error: Exception) -> StoredMessage:
    """From an error in the worker itself, before or after the process."""
    if isinstance(error, Refused):
        return StoredMessage.parsed(stored_messages.of_exception(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoredMessage("disk_full")
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, BadInput):
        return StoredMessage("process_message", {"message": str(error)[:MAX_MESSAGE]})
    if isinstance(error, OSError):
        return StoredMessage("file_error", {"error": str(error)})
    return StoredMessage("internal_error", {"error": f"{type(error).__name__}: {error}"[:MAX_MESSAGE]})
