"""Starting the processes of a run by torchrun.

`python -m models_core sft --set processes=2 ...` starts two processes of itself and ends with the status of the first;
`torchrun --nproc-per-node 2 -m models_core sft ...` does the same, but torchrun's own status is only 0 or 1.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from models_core.contract.runs.processes import STATUS_VARIABLE
from models_core.contract.runs.stopping import PARENT_VARIABLE

SHUTDOWN_SECONDS = 120
"""Time to finish a step and write a checkpoint after a stop signal."""


def launch(arguments: Sequence[str], *, number: int) -> int | None:
    """Run `python -m models_core ARGUMENTS` in `number` processes; the first one's status, None where it died.

    SIGTERM and SIGINT are passed on; the processes end with this one, whatever ends it.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # torchrun installs handlers of its own, and the processes are followed to their end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    with tempfile.TemporaryDirectory(prefix="hone-run-") as folder:
        status = Path(folder) / "status"
        os.environ[STATUS_VARIABLE] = str(status)
        options = ["--standalone", f"--nproc-per-node={number}", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
        # The processes have already reported their own failures.
        with suppress(ChildFailedError, SignalException, KeyboardInterrupt):
            torchrun([*options, "-m", "models_core", *arguments])
        return int(status.read_text()) if status.exists() else None
