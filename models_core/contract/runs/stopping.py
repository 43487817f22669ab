"""Being asked to stop: a signal sets a flag, the recipe saves a checkpoint at the next safe place and leaves."""

import ctypes
import os
import select
import signal
import sys
import threading
import time
from types import FrameType

from models_core.contract.errors import Stopped

PARENT_VARIABLE = "HONE_PARENT_PID"
PR_SET_PDEATHSIG = 1
ORPHAN_SECONDS = 40.0
"""Of a process whose parent died, to save a checkpoint: less than a lease, after which another host goes on."""


class StopSignal:
    """A flag that SIGTERM and SIGINT set. A second SIGINT ends the process as it would have without this object.

    A second SIGTERM does nothing: where a worker dies, and then the supervisor that adopted what it left, the kernel
    sends one for each of them, and the checkpoint is still to be written.
    """

    def __init__(self) -> None:
        self.requested = False
        self.waits_for_step = False

    def listen(self) -> "StopSignal":
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        return self

    def check(self) -> None:
        """Raise Stopped if it was asked for: for long loops that have changed nothing yet.

        Not where `waits_for_step`: of many processes none may leave a step that the others are in.
        """
        if not self.waits_for_step and self.requested:
            raise Stopped

    def step_began(self) -> None:
        """A step of a training begins, which `step_ended` ends: for models_core.training.step_meter."""

    def step_ended(self) -> None:
        """See `step_began`."""

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)


def follow_parent(*, at_once: bool = False) -> None:
    """End with the process that started this one, where HONE_PARENT_PID names it.

    The kernel sends SIGTERM at the parent's death (Linux), SIGKILL where the end shall come `at_once`. The parent may
    have died before that was arranged, so its id is checked afterwards. What SIGTERM has not ended ORPHAN_SECONDS later
    is killed: on a busy machine the next safe place may be minutes away.
    """
    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent.isdigit():
        return
    if sys.platform == "linux":
        number = signal.SIGKILL if at_once else signal.SIGTERM
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
        if not at_once:
            _outlive(int(parent), seconds=ORPHAN_SECONDS)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


def _outlive(parent: int, *, seconds: float) -> None:
    """Begin a thread that ends this process so long after the parent's death, whatever else it does then."""
    try:
        descriptor = os.pidfd_open(parent)
    except OSError:  # it has died already, or the kernel is older than 5.3
        return

    def watch() -> None:
        death = select.poll()
        death.register(descriptor, select.POLLIN)
        death.poll()
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="orphan", daemon=True).start()
