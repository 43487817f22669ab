"""Rollouts that the server samples while training goes on, and samples as JSON for checkpoints and other processes."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.generation.generate import Sample

Ask = Callable[[StopSignal], dict[str, Any]]
"""Asks the server: {"samples": ...}, {"error": a sentence} or {"stopped": True}."""


class AheadRequest:
    """The rollouts of iteration `step`, asked for in a thread that only waits for the server."""

    def __init__(self, step: int, ask: Ask, *, stop: StopSignal) -> None:
        self.step = step
        self._stop = _CancellableStop(stop)
        self._outcome: dict[str, Any] = {"error": "The rollouts ahead ended without a result."}

        def run() -> None:
            self._outcome = ask(self._stop)

        self._thread = threading.Thread(target=run, name="rollouts ahead", daemon=True)
        self._thread.start()

    def result(self) -> dict[str, Any]:
        """Wait for what `ask` gives."""
        self._thread.join()
        return self._outcome

    def cancel(self) -> None:
        """Hang up on the server."""
        self._stop.is_cancelled = True
        self._thread.join()


class _CancellableStop(StopSignal):
    """The run's stop signal, or a wish of our own to hang up."""

    def __init__(self, of_run: StopSignal) -> None:
        self.of_run, self.is_cancelled = of_run, False
        self.waits_for_step = of_run.waits_for_step

    @property
    def requested(self) -> bool:  # type: ignore[override]
        return self.is_cancelled or self.of_run.requested

    def check(self) -> None:
        if self.is_cancelled:
            raise Stopped
        self.of_run.check()


def encoded(samples: Sequence[Sequence[Sample]]) -> list[Any]:
    """Samples as JSON; numbers come back to the bit."""
    return [[[list(item.ids), list(item.logprobs), item.finish_reason] for item in own] for own in samples]


def decoded(rows: Sequence[Any]) -> list[list[Sample]]:
    return [
        [
            Sample(ids=tuple(ids), logprobs=tuple(logprobs), finish_reason=finish_reason)
            for ids, logprobs, finish_reason in own
        ]
        for own in rows
    ]
