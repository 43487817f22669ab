"""How long a step of a training takes, and in how much memory: a few real steps within a bounded time, and no result.

The recipe runs as it would, on the settings that it would have. It is left by an exception that no recipe catches: once
enough steps are done, or when a timer has run out, in the middle of whatever it computes.
"""

import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal

PREPARING_SECONDS = 900.0
"""For what comes before the first step, such as fetching the model and reading the data."""
FIRST_STEP = 3
"""The first step, which compiles kernels and fills caches, has so many times the seconds of all the others."""
STATUS = Path("/proc/self/status")


class _Left(BaseException):
    """The measured training is left: no `except Exception` of it stands in the way."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """seconds: of the steps that were finished, in their order. unfinished: of the one in which the training was left.

    limit: seconds after which it was to be left.
    """

    seconds: tuple[float, ...]
    unfinished: float
    limit: float
    peak_memory: int
    device: str

    def as_json(self) -> dict[str, Any]:
        """seconds_per_step is without the first step, which prepares kernels and memory, unless it is the only one.

        An unfinished step that has taken longer than the others already counts with what it has taken.
        """
        usual = self.seconds[1:] or self.seconds
        if usual and self.unfinished > sum(usual) / len(usual):
            usual = (*self.seconds[1:], self.unfinished)
        return {
            "seconds_per_step": round(sum(usual) / len(usual), 4) if usual else None,
            "measured_steps": len(self.seconds),
            "measured_seconds": self.limit,
            "peak_memory": self.peak_memory,
            "device": self.device,
        }


class StepMeter(StopSignal):
    """Given to a recipe as its stop signal, it times the steps, and leaves the recipe after `steps` of them."""

    def __init__(self, *, seconds: float, steps: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._limit = seconds
        self._steps = steps
        self._started: float | None = None
        self._has_begun = False
        self._has_left = False

    def step_began(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            print(f"0/{self._steps} steps", file=sys.stderr, flush=True)
            signal.setitimer(signal.ITIMER_REAL, FIRST_STEP * self._limit)
        self._started = time.perf_counter()

    def step_ended(self) -> None:
        assert self._started is not None
        self.seconds.append(time.perf_counter() - self._started)
        self._started = None
        print(f"{len(self.seconds)}/{self._steps} steps", file=sys.stderr, flush=True)
        if len(self.seconds) >= self._steps:
            self._leave()
        if len(self.seconds) == 1:
            signal.setitimer(signal.ITIMER_REAL, self._limit)

    def measure(self, train: Callable[[StopSignal], object]) -> Measurement:
        """Run a training until it is measured. Raises what it raises, Stopped on a signal, BadInput before a step."""
        previous = signal.signal(signal.SIGALRM, self._on_alarm)
        self.listen()
        signal.setitimer(signal.ITIMER_REAL, PREPARING_SECONDS)
        try:
            train(self)
        except _Left:
            pass
        finally:
            unfinished = 0.0 if self._started is None else time.perf_counter() - self._started
            self._has_left = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        if self.requested:
            raise Stopped("The measurement was stopped.")
        if not self._has_begun:
            raise BadInput(f"No step began within {PREPARING_SECONDS:g} seconds, so there is nothing to measure.")
        return Measurement(
            seconds=tuple(self.seconds),
            unfinished=unfinished,
            limit=self._limit if self.seconds else FIRST_STEP * self._limit,
            peak_memory=peak_memory(),
            device=device_name(),
        )

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self._leave()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Nothing is kept of a measurement, so it is left at once."""
        super()._on_signal(number, frame)
        self._leave()

    def _leave(self) -> None:
        """Raise once: not again while the first one unwinds, whatever comes meanwhile."""
        if not self._has_left:
            self._has_left = True
            raise _Left


def peak_memory() -> int:
    """Bytes that this process held at the most: of the GPU where it used one, else of the machine."""
    if torch.cuda.is_available() and (reserved := torch.cuda.max_memory_reserved()):
        return int(reserved)
    try:
        # Not getrusage's figure, which counts the process that this one was forked from.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def device_name() -> str:
    used = torch.cuda.is_available() and torch.cuda.max_memory_reserved() > 0
    return torch.cuda.get_device_name() if used else "cpu"
