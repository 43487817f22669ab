"""Case after case of each part by turns, until the time is over; what broke a promise is kept with its number."""

import faulthandler
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

HANG_SECONDS = 60
"""After which a case is interrupted, unless its part says otherwise; where not even that helps, the process ends with a
traceback."""
MOST_FAILURES = 20
"""Of one part, which is left alone then."""
MEGABYTES = 2**10
"""In the unit of ru_maxrss."""


class Hang(BaseException):
    """The case is still under way after HANG_SECONDS. No handler of the product takes it for a mistake of a file."""


@dataclass(frozen=True)
class Part:
    """A subject.

    check:    runs one case and raises for what it finds, AssertionError where a promise is broken.
    seconds:  of processor time that a case may take, the least of three.
    memory:   MB by which a case may raise the largest size that the process has had.
    repeats:  whether a case can be run again at once, to see whether it is slow or the machine is busy.
    hang:     seconds by the clock, in place of HANG_SECONDS.
    """

    name: str
    check: Callable[[random.Random], Any]
    seconds: float
    memory: int = 300
    repeats: bool = True
    hang: int = 0


@dataclass(frozen=True)
class Failure:
    part: str
    seed: int
    reason: str

    @property
    def command(self) -> str:
        return f"python -m tests.fuzz --part {self.part} --seed {self.seed} --cases 1"


@dataclass
class Tally:
    """Cases of a part, the slowest of them in seconds of processor time, and what they found."""

    cases: int = 0
    slowest: float = 0.0
    slowest_seed: int = 0
    failures: list[Failure] = field(default_factory=list)


def run(
    parts: list[Part],
    *,
    seed: int,
    until: float,
    most_cases: int | None = None,
    said: Callable[[str], None] = print,
) -> dict[str, Tally]:
    """Run cases until the moment of the monotonic clock, or so many of each part. Case n has the seed `seed` + n."""
    tallies = {part.name: Tally() for part in parts}
    number = 0
    while any(_goes_on(tallies[part.name], most_cases) for part in parts) and time.monotonic() < until:
        for part in parts:
            tally = tallies[part.name]
            if not _goes_on(tally, most_cases) or time.monotonic() >= until:
                continue
            reason, taken = tried(part, seed + number)
            tally.cases += 1
            if taken > tally.slowest:
                tally.slowest, tally.slowest_seed = taken, seed + number
            if reason:
                tally.failures.append(Failure(part.name, seed + number, reason))
                said(f"FAILED {tally.failures[-1].command}\n{reason}\n")
        number += 1
    return tallies


def _goes_on(tally: Tally, most_cases: int | None) -> bool:
    return len(tally.failures) < MOST_FAILURES and (most_cases is None or tally.cases < most_cases)


def tried(part: Part, seed: int) -> tuple[str, float]:
    """(what is wrong, empty if nothing; seconds of processor time) of one case."""
    least, reason = float("inf"), ""
    hang = part.hang or HANG_SECONDS
    for _attempt in range(3 if part.repeats else 1):
        before = _largest_size()
        start = time.process_time()
        try:
            with _interrupted(hang):
                part.check(random.Random(f"{part.name} {seed}"))
        except Hang:
            return f"still under way after {hang} s", float(hang)
        except Exception as error:
            broken = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
            return broken[-3_000:], time.process_time() - start
        least = min(least, time.process_time() - start)
        grown = (_largest_size() - before) / MEGABYTES
        if grown > part.memory:
            return f"took {grown:.0f} MB of memory, more than {part.memory}", least
        if least <= part.seconds:
            return "", least
        reason = f"took {least:.2f} s of processor time, more than {part.seconds}"
    return reason, least


def _largest_size() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def _interrupted(seconds: int) -> Iterator[None]:
    def hang(_signal: int, _frame: Any) -> None:
        raise Hang

    earlier = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, earlier)
