"""One `serve` a data folder: a lock that the kernel drops with the process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "serve.lock"


class AlreadyRunning(Exception):
    """Another process serves this data folder; `owner` is its own description."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@contextmanager
def data_lock(data: Path, *, owner: str) -> Iterator[None]:
    """Hold the folder for this process. The file stays: removing it would let two processes lock two files."""
    with (data / FILE_NAME).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(file.read().strip()) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, {owner}\n")
        file.flush()
        yield
