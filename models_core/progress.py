"""Progress of a command that has no run folder: a line on standard error, at most once in a while."""

import sys
import time

SECONDS = 2.0


class Ticker:
    """Call it with what is done and what there is in all; `noun` says of what."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done == total or time.monotonic() - self.shown >= SECONDS:
            self.shown = time.monotonic()
            print(f"{done}/{total} {self.noun}", file=sys.stderr, flush=True)
