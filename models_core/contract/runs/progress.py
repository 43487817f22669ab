"""Progress of a command that has no run folder, on standard error: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable

SECONDS = 2.0
BAR = 30
"""Characters of a full bar."""
Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


class Ticker:
    """Call it with what is done and what there is in all; `noun` says of what."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            filled = BAR * done // max(1, total)
            end = "\n" if done == total else ""
            print(f"\r[{'#' * filled:<{BAR}}] {done}/{total} {self.noun}", end=end, file=sys.stderr, flush=True)
        elif done == total or time.monotonic() - self.shown >= SECONDS:
            self.shown = time.monotonic()
            print(f"{done}/{total} {self.noun}", file=sys.stderr, flush=True)


def part_of(whole: Progress, *, number: int, parts: int) -> Progress:
    """Progress of the whole, reported by the part of that number (from 0) of several equal parts."""
    return lambda done, total: whole(number * total + done, parts * total)
