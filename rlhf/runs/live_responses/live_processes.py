"""The child processes of the worker `live`, which keep models loaded between one call and the next.

The child of models has one call at a time, and one that is left ends it: late replies to it must not be taken for
replies to the next one. The child that asks servers has several, each with a number; one that is left is cancelled.
"""

import itertools
import json
import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from rlhf.models import ModelVersion
from rlhf.runs.execution import children, run_files
from rlhf.runs.execution.machine import MemoryWatch
from rlhf.runs.execution.monitoring.stall_detection import StallDetector

TICK_SECONDS = 0.25
FINAL_KEYS = {"responses", "error"}
"""A line of the process with one of these keys is its last one for a call."""
Replies = Generator[dict[str, Any] | None, None, None]
ENDED: dict[str, Any] = {"state": "ended"}
"""In the inbox of a call: the process is gone."""


class ProcessEnded(Exception):
    """The process exited during a call, with status `returncode`."""

    def __init__(self, returncode: int, *, memory_ran_out: bool = False) -> None:
        super().__init__(f"the live process exited with status {returncode}")
        self.returncode = returncode
        self.memory_ran_out = memory_ran_out


class LiveProcess:
    """A child process. It is started by the first call, and again after it has exited; `name`: of its files."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None
        self._version: int | None = None
        self._rest = b""
        self._memory = MemoryWatch()

    @property
    def log_file(self) -> Path:
        return Path(settings.HONE_DATA) / "logs" / f"{self._name}.log"

    @property
    def failure_file(self) -> Path:
        return Path(settings.HONE_DATA) / "logs" / f"{self._name}-failure.json"

    @property
    def process_id(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def has_loaded(self, version: ModelVersion) -> bool:
        """Whether the child has the version in memory, so that its files need no check."""
        return self.process_id is not None and self._version == version.pk

    def call(self, call: Mapping[str, Any], *, version: ModelVersion | None) -> Replies:
        """Yield the child's replies to a call up to the final one, and None after each tick without a reply.

        Closed before its end, it leaves the call. Raises ProcessEnded.
        """
        is_over = False
        try:
            child = self._started()
            self._write(child, call)
            for reply in self._followed(child, lambda: self._reply(child)):
                if reply is not None and "responses" in reply and version is not None:
                    self._version = version.pk
                is_over = is_final(reply)
                yield reply
        finally:
            if not is_over:
                self.end()

    def _write(self, child: subprocess.Popen[bytes], row: Mapping[str, Any]) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(row).encode() + b"\n")
            child.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has ended, or `end` closed the pipe
            raise self._process_ended(child) from None

    def _followed(self, child: subprocess.Popen[bytes], next_reply: Callable[[], dict[str, Any] | None]) -> Replies:
        self._memory.look()
        stall = StallDetector(session=child.pid, folders=[])
        while True:
            reply = next_reply()
            if reply is not None:
                stall.note_output()
            elif stall.is_stalled():
                children.signal_group(child.pid, signal.SIGKILL)
                raise self._process_ended(child)
            yield reply
            if is_final(reply):
                return

    def _process_ended(self, child: subprocess.Popen[bytes]) -> ProcessEnded:
        return ProcessEnded(child.wait(), memory_ran_out=self._memory.ran_out())

    def end(self) -> None:
        """Kill the child and free its memory. A call in progress is lost."""
        if self._child is not None:
            children.signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        self._child, self._version, self._rest = None, None, b""

    def failure(self) -> dict[str, Any]:
        """Why the child exited, as it reported; {} for nothing."""
        return run_files.document(self.failure_file)

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process_id is None:
            self.end()
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("wb") as errors:
                self._child = children.start(
                    ["live", "--idle", str(settings.HONE_LIVE_IDLE), "--device", settings.HONE_LIVE_DEVICE],
                    failure_file=self.failure_file,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
        assert self._child is not None
        return self._child

    def _reply(self, child: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        assert child.stdout is not None
        while b"\n" not in self._rest:
            if not select.select([child.stdout], [], [], TICK_SECONDS)[0]:
                self._memory.look()
                return None
            block = os.read(child.stdout.fileno(), 65_536)
            if not block:
                raise self._process_ended(child)
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return _parsed(line)


class ServerProcess(LiveProcess):
    """The child that asks servers: several calls at once, from as many threads."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._numbers = itertools.count(1)
        self._inboxes: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._reader: threading.Thread | None = None
        self._lock = threading.RLock()

    def call(self, call: Mapping[str, Any], *, version: ModelVersion | None) -> Replies:
        number, is_over = next(self._numbers), False
        inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

        def next_reply() -> dict[str, Any] | None:
            try:
                reply = inbox.get(timeout=TICK_SECONDS)
            except queue.Empty:
                self._memory.look()
                if not reader.is_alive() and inbox.empty():  # it ended as this call began
                    raise self._process_ended(child) from None
                return None
            if reply is ENDED:
                raise self._process_ended(child)
            return reply

        with self._lock:
            child = self._started()
            assert self._reader is not None
            reader = self._reader
            self._inboxes[number] = inbox
        try:
            with self._lock:
                self._write(child, {**call, "call": number})
            for reply in self._followed(child, next_reply):
                is_over = is_final(reply)
                yield reply
        finally:
            with self._lock:
                self._inboxes.pop(number, None)
                if not is_over and child is self._child and child.poll() is None:
                    with suppress(ProcessEnded):
                        self._write(child, {"cancel": number})

    def end(self) -> None:
        with self._lock:
            if self._child is not None:
                children.signal_group(self._child.pid, signal.SIGKILL)
            reader = self._reader
        if reader is not None:
            reader.join()  # it reads from the pipe that is closed now
        with self._lock:
            if self._reader is reader:
                super().end()
                self._reader = None

    def _started(self) -> subprocess.Popen[bytes]:
        child = super()._started()
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, args=(child,), daemon=True)
            self._reader.start()
        return child

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        """Bring each line to whoever follows its call."""
        assert child.stdout is not None
        for line in child.stdout:
            reply = _parsed(line)
            inbox = self._inboxes.get(reply["call"]) if reply is not None and "call" in reply else None
            if reply is not None and inbox is not None:
                inbox.put(reply)
        # Without the lock, whose holder may wait for this thread; no call of the next child is there before its end.
        for inbox in list(self._inboxes.values()):
            inbox.put(ENDED)


def is_final(reply: Mapping[str, Any] | None) -> bool:
    return reply is not None and bool(reply.keys() & FINAL_KEYS)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        reply = json.loads(line)
    except ValueError:
        return None  # printed by a library
    return reply if isinstance(reply, dict) else None
