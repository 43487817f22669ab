"""Ends the processes of a run whose lease can't be renewed, before another worker may take the run.

A write to a database behind a network that was cut waits, and its supervisor waits with it. Meanwhile its child would
go on writing into the run's folder, which the next worker shares. So a thread of its own watches the time.
"""

import logging
import signal
import subprocess
import threading
import time
from types import TracebackType

from rlhf.runs import runs
from rlhf.runs.execution import children

log = logging.getLogger(__name__)

LEASE_SECONDS = runs.LEASE.total_seconds()
SAVE_AFTER = LEASE_SECONDS - 20.0
"""Seconds since the last renewal after which the child is asked to save a checkpoint and leave."""
KILL_AFTER = LEASE_SECONDS - 5.0
LOOK_SECONDS = 0.5


class LeaseWatch:
    """A thread while it is entered; `renewed` is told of each renewal. `has_stopped`: whether it ended the child."""

    def __init__(self, child: subprocess.Popen[bytes], *, renewed: float) -> None:
        self.has_stopped = False
        self._child = child
        self._renewed = renewed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lease", daemon=True)

    def __enter__(self) -> "LeaseWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def renewed(self, at: float) -> None:
        """The lease was renewed by a write that began at this time of the monotonic clock."""
        self._renewed = at

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            since = time.monotonic() - self._renewed
            if since > SAVE_AFTER and self._child.returncode is None:
                number = signal.SIGKILL if since > KILL_AFTER else signal.SIGTERM
                # It saves at the first SIGTERM.
                if number == signal.SIGKILL or not self.has_stopped:
                    log.warning("A lease was not renewed for %.0f s: %s to its processes", since, number.name)
                    children.signal_group(self._child.pid, number)
                self.has_stopped = True
