"""Being asked to stop: a signal sets a flag, the recipe saves a checkpoint at the next safe place and leaves."""

import ctypes
import os
import signal
import sys
from types import FrameType

from models_core.contract.errors import Stopped

PARENT_VARIABLE = "HONE_PARENT_PID"
PR_SET_PDEATHSIG = 1


class StopSignal:
    """A flag that SIGTERM and SIGINT set. A second signal ends the process as it would have without this object."""

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
        signal.signal(number, signal.SIG_DFL)


def follow_parent(*, at_once: bool = False) -> None:
    """End with the process that started this one, where HONE_PARENT_PID names it.

    The kernel sends SIGTERM at the parent's death (Linux), SIGKILL where the end shall come `at_once`. The parent may
    have died before that was arranged, so its id is checked afterwards.
    """
    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent.isdigit():
        return
    if sys.platform == "linux":
        number = signal.SIGKILL if at_once else signal.SIGTERM
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
