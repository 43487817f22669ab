"""Counts of requests by view, and of claims and submits: in memory that all web processes of a machine share.

gunicorn's master maps the memory before it forks, so that /metrics of one process has the counts of all, and a process
that is replaced loses none. There is no folder of files to clean up, as prometheus-client's own way for several
processes needs, and none that a full disk could end the process at. Each process writes into a slot of its own.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from threading import Lock
from typing import Any

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; a last one is infinite."""
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
GATEWAY_EVENTS = ("requests", "failures", "kept", "feedback")
EVENTS = ("claims", "submits", *(f"gateway_{name}" for name in GATEWAY_EVENTS))
STATIC, UNMATCHED = "static", "unmatched"
"""Views that stand for many: files, and addresses that lead nowhere."""
WHOLE = ("admin", "api")
"""Namespaces that count as one view each. The API's addresses aren't even imported before one is asked for."""

MOST_VIEWS = 512
MOST_PROCESSES = 16
NUMBER = 8
"""Bytes of a float."""
ROW = len(STATUSES) + len(BUCKETS) + 2
"""Numbers of a view: requests by status, by bucket, and their seconds."""
SLOT = MOST_VIEWS * ROW + len(EVENTS)

_memory = memoryview(mmap.mmap(-1, MOST_PROCESSES * SLOT * NUMBER)).cast("d")
_lock = Lock()
_slot = 0


@dataclass(frozen=True)
class ViewFigures:
    """statuses: requests by class. buckets: requests up to each of BUCKETS and in all. seconds: of all together."""

    view: str
    statuses: dict[str, int]
    buckets: list[int]
    seconds: float


def free_slot(taken: Sequence[int]) -> int:
    """For a process about to be forked; the last one is shared where there are more processes than slots."""
    return next((slot for slot in range(MOST_PROCESSES) if slot not in taken), MOST_PROCESSES - 1)


def use_slot(slot: int) -> None:
    """In a process that was just forked: what its predecessor counted there stays."""
    global _slot
    _slot = slot


def observe(*, view: str, status: int, seconds: float) -> None:
    """Count a request. `view` is a name of `view_names`; any other counts as unmatched."""
    names = _places()
    start = _slot * SLOT + names.get(view, names[UNMATCHED]) * ROW
    with _lock:
        _memory[start + min(max(status // 100, 1), len(STATUSES)) - 1] += 1
        _memory[start + len(STATUSES) + bisect_left(BUCKETS, seconds)] += 1
        _memory[start + ROW - 1] += seconds


def count(event: str, number: int = 1) -> None:
    with _lock:
        _memory[_slot * SLOT + MOST_VIEWS * ROW + EVENTS.index(event)] += number


def by_view() -> Iterator[ViewFigures]:
    """Of every view that was asked for, over all processes."""
    places = _places()
    totals = _totals(0, len(places) * ROW)
    for view, place in places.items():
        row = totals[place * ROW : (place + 1) * ROW]
        counts = [round(number) for number in row[len(STATUSES) : -1]]
        if any(counts):
            statuses = {name: round(number) for name, number in zip(STATUSES, row, strict=False) if number}
            yield ViewFigures(view, statuses, list(accumulate(counts)), row[-1])


def events() -> dict[str, int]:
    totals = _totals(MOST_VIEWS * ROW, SLOT)
    return {name: round(number) for name, number in zip(EVENTS, totals, strict=True)}


def view_names() -> list[str]:
    """The names that a request is counted under, in the same order in every process."""
    from django.urls import get_resolver  # gunicorn's master has no use for it

    found = set(_named(get_resolver().url_patterns, ""))
    return [*WHOLE, STATIC, UNMATCHED, *sorted(found)][:MOST_VIEWS]


@cache
def _places() -> dict[str, int]:
    return {name: place for place, name in enumerate(view_names())}


def _named(patterns: Sequence[Any], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        if (name := getattr(pattern, "name", None)) is not None:
            yield prefix + name
        elif (namespace := getattr(pattern, "namespace", "")) not in WHOLE:
            yield from _named(pattern.url_patterns, f"{prefix}{namespace}:" if namespace else prefix)


def _totals(start: int, end: int) -> list[float]:
    """The sums over the slots, of which most are empty."""
    slots = [_memory[slot * SLOT + start : slot * SLOT + end].tolist() for slot in range(MOST_PROCESSES)]
    used = [slot for slot in slots if any(slot)] or slots[:1]
    return [sum(numbers) for numbers in zip(*used, strict=True)]
