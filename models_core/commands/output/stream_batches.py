"""Rows as they come in, a window at a time: of a file so many each, of standard input whatever is there by now.

A window of a file is always the same rows, so that what is computed of it is too. Standard input may be somebody who
waits for the scores of each line, or a program that is faster than the model: the window is what came while the last
one was being computed.
"""

import itertools
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models_core.contract.rows import row_parser
from models_core.contract.runs.stopping import StopSignal

STANDARD_INPUT = Path("-")
LOOK = 0.2
"""Seconds between looks at the stop signal while nothing comes."""
_END = object()


def windows(
    path: Path, kind: str, *, size: int, skip: int = 0, unreadable: list[str] | None = None, stop: StopSignal
) -> Iterator[list[Any]]:
    """Records of a kind, at most `size` a window, without the first `skip`. Raises BadInput, Stopped."""
    rows = itertools.islice(row_parser.stream(path, kind, unreadable=unreadable), skip, None)
    if path == STANDARD_INPUT:
        yield from _as_they_come(rows, size=size, stop=stop)
        return
    while window := list(itertools.islice(rows, size)):
        stop.check()
        yield window


def _as_they_come(rows: Iterator[Any], *, size: int, stop: StopSignal) -> Iterator[list[Any]]:
    arrived: queue.Queue[Any] = queue.Queue(maxsize=2 * size)

    def read() -> None:
        try:
            for row in rows:
                arrived.put(row)
        except BaseException as error:
            arrived.put(error)
        arrived.put(_END)

    threading.Thread(target=read, daemon=True).start()
    last: Any = None
    while last is None:
        window: list[Any] = []
        while len(window) < size:
            try:
                item = arrived.get(timeout=0 if window else LOOK)
            except queue.Empty:
                stop.check()
                if window:
                    break
                continue
            if item is _END or isinstance(item, BaseException):
                last = item
                break
            window.append(item)
        if window:
            yield window
    if isinstance(last, BaseException):
        raise last
