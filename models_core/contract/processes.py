"""The processes of one run: who this one is, and starting several by torchrun. Standard library until they start.

`python -m models_core sft --set processes=2 ...` starts two processes of itself and ends with the status of the first;
`torchrun --nproc-per-node 2 -m models_core sft ...` does the same, but torchrun knows only 0 and 1 for a status.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

STATUS_VARIABLE = "HONE_STATUS_FILE"
SHUTDOWN_SECONDS = 120
"""Time for a step to end and a checkpoint to be written once the processes are told to stop."""
DIED = 128 + signal.SIGKILL
"""Exit status of a run of which a process was killed: what a shell says of such a process."""
LAUNCHED_VARIABLES = ("RANK", "WORLD_SIZE")


def count() -> int:
    """How many processes the run has: torchrun says so."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return rank() == 0


def log_main(sentence: str) -> None:
    """Tell the user, on standard error, once for all processes."""
    if is_main():
        print(sentence, file=sys.stderr, flush=True)


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return all(name in os.environ for name in LAUNCHED_VARIABLES)


def launch(arguments: Sequence[str], *, number: int) -> int | None:
    """Run `python -m models_core ARGUMENTS` in so many processes; the first one's status, None where it died.

    SIGTERM and SIGINT are passed on; the processes end with this one, whatever ends it.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    from models_core.contract.stopping import PARENT_VARIABLE

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # torchrun takes the signals over; the processes follow this one to its end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    with tempfile.TemporaryDirectory(prefix="hone-run-") as folder:
        status = Path(folder) / "status"
        os.environ[STATUS_VARIABLE] = str(status)
        shape = ["--standalone", f"--nproc-per-node={number}", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
        # What went wrong the processes have said themselves.
        with suppress(ChildFailedError, SignalException, KeyboardInterrupt):
            torchrun([*shape, "-m", "models_core", *arguments])
        return int(status.read_text()) if status.exists() else None


def report(status: int) -> int:
    """Leave the first process's status to whoever launched it; returns it."""
    path = os.environ.get(STATUS_VARIABLE)
    if path and is_launched() and is_main():
        Path(path).write_text(str(status))
        sys.stdout.flush()
    return status
