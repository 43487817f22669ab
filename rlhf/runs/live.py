"""Live answers for a chat: runs of the queue `live`, answered by a process that keeps the policy loaded in between.

A labeler waits for these, so they stand in no line with trainings, and no process is started and no model loaded for
each turn. The worker of the queue holds one child, `python -m models_core live`; it ends by itself when nobody has
asked for a while. A run is claimed, held by its lease and ended as every other (see rlhf.runs.runs).
"""

import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils.translation import gettext_noop

from rlhf.loop import sampling
from rlhf.models import ModelVersion, RunInput, TrainingRun
from rlhf.runs import children, failures, runs, stages
from rlhf.runs.machine import MemoryWatch
from rlhf.runs.runs import Lease
from rlhf.runs.stall_detection import StallDetector
from rlhf.runs.stopping import worker_is_stopping

QUEUE = sampling.LIVE_QUEUE
TICK_SECONDS = 0.25
RENEW_SECONDS = 10.0
LOG_BYTES = 20_000
LOADING = gettext_noop("loading the model")
ANSWERING = gettext_noop("writing answers")
FINAL_KEYS = {"responses", "error"}
CANCELLED: dict[str, Any] = {"state": "cancelled"}
RELEASED: dict[str, Any] = {"state": "released"}

log = logging.getLogger(__name__)


class ProcessEnded(Exception):
    """The process ended in the middle of a call; `returncode` says how."""

    def __init__(self, returncode: int, *, memory_ran_out: bool = False) -> None:
        super().__init__(f"the process that answers ended with status {returncode}")
        self.returncode = returncode
        self.memory_ran_out = memory_ran_out


class LiveProcess:
    """The child that answers. It is started when it is first asked, and again when it has ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._version: int | None = None
        self._rest = b""
        self._memory = MemoryWatch()

    @property
    def log_file(self) -> Path:
        return Path(settings.HONE_DATA) / "logs" / "live-model.log"

    @property
    def process_id(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def has_loaded(self, version: ModelVersion) -> bool:
        """Whether the version is in the child's memory, so that its files need no check and no reading."""
        return self.process_id is not None and self._version == version.pk

    def ask(self, call: Mapping[str, Any], *, version: ModelVersion) -> Iterator[dict[str, Any] | None]:
        """What the child says to a call, line by line, up to its last word; None each time a tick passes in silence.

        Raises Gone.
        """
        child = self._started()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(call).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise self._process_ended(child) from None
        self._memory.look()
        stall = StallDetector(session=child.pid, folders=[])
        while True:
            said = self._line(child)
            yield said
            if said is not None:
                stall.note_output()
            elif stall.is_stalled():
                children.signal_group(child.pid, signal.SIGKILL)
                raise self._process_ended(child)
            if said is not None and "responses" in said:
                self._version = version.pk
            if said is not None and said.keys() & FINAL_KEYS:
                return

    def _process_ended(self, child: subprocess.Popen[bytes]) -> ProcessEnded:
        return ProcessEnded(child.wait(), memory_ran_out=self._memory.ran_out())

    def end(self) -> None:
        """Its memory is free afterwards. A call that is under way is lost."""
        if self._child is not None:
            children.signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        self._child, self._version, self._rest = None, None, b""

    def log_tail(self) -> str:
        try:
            return self.log_file.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace").replace("\0", "")
        except OSError:
            return ""

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process_id is None:
            self.end()
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("wb") as errors:
                self._child = children.start(
                    ["live", "--idle", str(settings.HONE_LIVE_IDLE), "--device", settings.HONE_LIVE_DEVICE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
        assert self._child is not None
        return self._child

    def _line(self, child: subprocess.Popen[bytes]) -> dict[str, Any] | None:
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
        try:
            said = json.loads(line)
        except ValueError:
            return None  # not ours: a library's word
        return said if isinstance(said, dict) else None


_live_process = LiveProcess()
"""Of this worker process: a queue's worker has one."""


def answer(run: TrainingRun, lease: Lease) -> None:
    """Bring a claimed run to its end, or put it back where this worker is told to stop. Raises LeaseLost, Refused."""
    version = run.run_inputs.select_related("version__project").get(role=RunInput.Role.MODEL).version
    try:
        said = _final_reply(run, lease, version)
    except ProcessEnded as gone:
        return failures.end(
            lease, returncode=gone.returncode, log=_live_process.log_tail(), memory_ran_out=gone.memory_ran_out
        )
    if said == CANCELLED:
        return runs.finish_cancelled(lease)
    if said == RELEASED:
        return runs.release(lease)
    if "error" in said:
        return runs.fail(lease, error=said["error"])
    counts = sampling.store(run, lease, iter([said]))
    return runs.succeed(lease, result=counts, register=lambda: None)


def _final_reply(run: TrainingRun, lease: Lease, version: ModelVersion) -> dict[str, Any]:
    """What the child says last, CANCELLED, or RELEASED. Raises Gone, LeaseLost, Refused."""
    call = _call(run, version)
    try:
        return _follow(call, lease, version)
    except ProcessEnded as gone:
        # It ended by itself, for nobody had asked for long, while this call was on its way.
        if gone.returncode != 0:
            raise
    return _follow(call, lease, version)


def _follow(call: Mapping[str, Any], lease: Lease, version: ModelVersion) -> dict[str, Any]:
    renewed = time.monotonic()
    try:
        with children.sigterm_noted() as stop_requested:
            for said in _live_process.ask(call, version=version):
                if said is not None and said.keys() & FINAL_KEYS:
                    return said
                if stop_requested() or worker_is_stopping():
                    raise _CallAbandoned(RELEASED)
                try:
                    close_old_connections()
                    if said is not None or time.monotonic() - renewed > RENEW_SECONDS:
                        runs.renew(lease, **_row_changes(said))
                        renewed = time.monotonic()
                    if runs.is_cancel_requested(lease):
                        raise _CallAbandoned(CANCELLED)
                except DatabaseError:
                    # It may be restarting, and the answer isn't there yet.
                    log.exception("Run %s could not be written", lease.run_id)
        raise AssertionError("a call's answer has no end")
    except BaseException as left:
        # What the child would still say to this call is no answer to the next one.
        _live_process.end()
        if isinstance(left, _CallAbandoned):
            return left.as_word
        raise


class _CallAbandoned(Exception):
    """A call is given up before its last word."""

    def __init__(self, as_word: dict[str, Any]) -> None:
        super().__init__()
        self.as_word = as_word


def _call(run: TrainingRun, version: ModelVersion) -> dict[str, Any]:
    (row,) = sampling.prompts_of(run)
    name = version.base_model or str(settings.HONE_DATA / version.folder)
    if not _live_process.has_loaded(version):
        name = stages.model_argument(version)
    return row | {"model": name, "samples": run.options["samples"], "settings": run.config}


def _row_changes(said: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a line of the child changes in the run's row."""
    if said is None:
        return {}
    if said["state"] == "loading":
        return {"activity": LOADING, "progress": 0.0}
    return {"activity": ANSWERING, "progress": said["done"] / said["total"]}
