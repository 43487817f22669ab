"""Exit statuses, and the sentence of each failure on standard error."""

import errno
import sys
import traceback

from models_core.contract.errors import BadInput, Halted, ServerFailed, Stopped
from models_core.contract.runs import failure_report, processes

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 3
PEER_DIED_SIGNS = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo")
"""Parts of torch's error message in a process whose peer is gone."""
PEER_DIED = "Another process of this run died; --resume goes on from the last checkpoint."
PROCESS_DIED = "A process of the run died; --resume goes on from the last checkpoint."
OUT_OF_MEMORY = (
    "Out of memory: take a smaller batch_size, max_tokens_per_forward or max_length, or a machine with more memory."
)
DISK_FULL = "No space left on device: free some disk space, then continue with --resume."


def report(error: Exception) -> int:
    """Write the sentence of an error, and a traceback where it is none of the known ones; returns the exit status."""
    if isinstance(error, BadInput):
        failure_report.record(failure_report.BAD_INPUT, _one_line(error))
        return write_sentence(error, BAD_INPUT)
    if isinstance(error, Stopped):
        return write_sentence(str(error) or "Stopped.", STOPPED)
    if _is_of_peer(error):
        return write_sentence(PEER_DIED, processes.DIED)
    code, sentence = _classify(error)
    if code == failure_report.CRASHED:
        traceback.print_exception(error)
    failure_report.record(code, _one_line(sentence))
    return write_sentence(sentence, FAILED)


def write_sentence(sentence: object, status: int) -> int:
    """One line on standard error, from the main process; returns the status."""
    if processes.is_main():
        print(_one_line(sentence), file=sys.stderr, flush=True)
    return status


def _one_line(sentence: object) -> str:
    return " ".join(str(sentence).split())


def _is_of_peer(error: Exception) -> bool:
    """Whether the error says that another process of this run is gone."""
    return processes.is_launched() and any(sign in str(error) for sign in PEER_DIED_SIGNS)


def _classify(error: Exception) -> tuple[str, str]:
    """(code, sentence) of an exhausted resource, of a run that says itself why it ended, or of any other error.

    torch has no type for an allocation on a processor that failed, so that its message is read, here alone.
    """
    text = str(error)
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return failure_report.OUT_OF_MEMORY, OUT_OF_MEMORY
    if "No space left on device" in text or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return failure_report.DISK_FULL, DISK_FULL
    if isinstance(error, OSError):
        return failure_report.FILE_ERROR, f"A file could not be read or written: {error}."
    if isinstance(error, Halted | ServerFailed):
        return failure_report.HALTED, text
    return failure_report.CRASHED, f"{type(error).__name__}: {error}"
