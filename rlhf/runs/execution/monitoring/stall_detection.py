"""Detection of stalled child processes.

A process may be alive without progress: stopped by a signal, waiting for a lock, or for an unreachable file system. Its
lease would be renewed for ever. Progress is a change of its files, or processor time of its session.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from rlhf.runs.execution import machine

CHECK_SECONDS = 5.0
MINUTE, HOUR = 60.0, 3600.0


class StallDetector:
    """Checks a session of processes and the files that it writes, every few seconds."""

    def __init__(self, *, session: int, folders: Iterable[Path], ignored: Path | None = None) -> None:
        """`ignored`: a folder below them that others write to."""
        self.session = session
        self.folders = tuple(folders)
        self.ignored = ignored
        self._ticks = machine.processor_ticks(session)
        self._files = self._newest_change()
        self._wrote = self._worked = self._checked = time.monotonic()

    def is_stalled(self) -> bool:
        """True once nothing was written and no processor time used for HONE_IDLE_MINUTES, or nothing was written for
        HONE_STALL_HOURS however busy the processor was."""
        now = time.monotonic()
        if now - self._checked >= min(CHECK_SECONDS, settings.HONE_IDLE_MINUTES * MINUTE / 4):
            self._checked = now
            self._look(now)
        is_idle = now - max(self._worked, self._wrote) > settings.HONE_IDLE_MINUTES * MINUTE
        return is_idle or now - self._wrote > settings.HONE_STALL_HOURS * HOUR

    def note_output(self) -> None:
        """Note output of the process on another way than files."""
        self._wrote = time.monotonic()

    def _look(self, now: float) -> None:
        ticks, files = machine.processor_ticks(self.session), self._newest_change()
        # Without processor times of the kernel a process counts as busy.
        if ticks != self._ticks or ticks is None:
            self._ticks, self._worked = ticks, now
        if files != self._files:
            self._files, self._wrote = files, now

    def _newest_change(self) -> int:
        """Time of the newest change below the folders, in nanoseconds since the epoch; 0 where there is nothing."""
        newest = 0
        for folder in self.folders:
            for path in (folder, *folder.rglob("*")):
                if self.ignored is not None and (path == self.ignored or self.ignored in path.parents):
                    continue
                try:
                    newest = max(newest, path.stat().st_mtime_ns)
                except OSError:
                    continue  # a checkpoint that was dropped meanwhile
        return newest
