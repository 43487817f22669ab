"""Everything that Hone runs on one machine, under one supervisor: broker, workers, scheduler, web, model download.

The supervisor starts each program in a process group of its own, so that a Ctrl-C of the terminal reaches nobody but
the supervisor, which then ends them in order. It starts again what dies, and says so.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config import descendants

LAUNCH = Path(__file__).with_name("launch.py")
STOPPED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK_SECONDS = 0.25
READY_SECONDS = 60.0

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 30.0
"""A program that ran for so long has recovered: its next restart is quick again."""

LEAVE_SECONDS = 3.6
"""All but the broker. A worker gives its running job 2.4 s of these to save a checkpoint."""
BROKER_LEAVE_SECONDS = 0.4
LONGEST_LOG = 5 * 2**20
SHORTEN_SECONDS = 60.0
WATCH_SECONDS = 5.0
"""Between two questions whether a program still answers."""
COMING_UP_SECONDS = 180.0
"""In which a program that was started anew may be silent."""
MISSES = 4
"""Questions in a row without an answer after which it is started anew. Each waits for as long as its own timeout, so
that a machine that is only slow gets half a minute and more."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Program:
    """Something to run. `is_ready` is asked until it answers yes before the next program starts.

    `is_answering` is asked all the time from then on, from a thread of its own; a program that is alive and doesn't
    answer MISSES times in a row is killed and started again. With it goes all its group: at once, or where its children
    notice and have work to put back, after `children_leave_seconds`.

    A program that `ends` has done its work when it is over and isn't started again. Without a `log` it writes where
    the supervisor does.
    """

    name: str
    command: list[str]
    log: Path | None = None
    is_ready: Callable[[], bool] | None = None
    is_answering: Callable[[], bool] | None = None
    before_start: Callable[[], object] | None = None
    said_at_start: str = ""
    done: str = ""
    """What is said when a program that ends has ended well."""
    ends: bool = False
    is_broker: bool = False
    children_leave_seconds: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)


class NotStarted(Exception):
    """A program didn't come up: a sentence for the user."""


class _Running:
    """One program's process, over its restarts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.delay = FIRST_DELAY
        self.restart_at: float | None = None

    def start(self) -> None:
        if self.program.before_start:
            self.program.before_start()
        command = [sys.executable, "-S", str(LAUNCH), str(os.getpid()), *self.program.command]
        environment = {**os.environ, **self.program.environment}
        self.started_at, self.restart_at = time.monotonic(), None
        if self.program.log is None:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, process_group=0)
            return
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        _shorten(self.program.log)
        with self.program.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, process_group=0
            )

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To the program alone: it knows best how to end its own children."""
        if self.process is not None and self.is_alive():
            self.process.send_signal(number)

    def kill_group(self) -> None:
        if self.process is not None and self.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)

    def ending(self) -> str:
        """How it ended, in words, with the last thing it wrote."""
        assert self.process is not None
        status = self.process.returncode
        words = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = _last_line(self.program.log)
        return f"{self.program.name} {words}" + (f" ({last})" if last else "")

    def plan_restart(self) -> float:
        """Seconds until the next start: twice as long each time, short again after a steady run."""
        if time.monotonic() - self.started_at >= STEADY_SECONDS:
            self.delay = FIRST_DELAY
        delay, self.delay = self.delay, min(self.delay * 2, LONGEST_DELAY)
        self.process, self.restart_at = None, time.monotonic() + delay
        return delay


class _Watch:
    """Asks one program again and again whether it answers, in a thread, and counts the times in a row that it didn't.

    Whoever looks sees the number of misses of the process that runs now: a restart begins at zero, and is given time
    to come up before its silence counts, or a slow machine would never get it up.
    """

    def __init__(self, running: _Running, *, wait: float) -> None:
        self._running = running
        self._wait = wait
        self._missed = 0
        self._process: object = None
        self._up: object = running.process
        """The process that has answered before."""
        self._stopped = threading.Event()
        threading.Thread(target=self._ask, name=f"watch {running.program.name}", daemon=True).start()

    def misses(self) -> int:
        return self._missed if self._process is self._running.process else 0

    def stop(self) -> None:
        self._stopped.set()

    def _ask(self) -> None:
        assert self._running.program.is_answering is not None
        while not self._stopped.wait(self._wait):
            process = self._running.process
            if process is None or process.poll() is not None:
                continue
            answered = self._running.program.is_answering()
            if answered:
                self._up = process
            elif self._up is not process and time.monotonic() - self._running.started_at < COMING_UP_SECONDS:
                continue
            self._missed = 0 if answered else (self._missed + 1 if self._process is process else 1)
            self._process = process


class Signals:
    """SIGINT, SIGTERM and SIGHUP become a wish to stop; these and a child's end cut a wait short.

    A handler only notes the wish. The wake-up comes through a pipe that the interpreter writes to, so that a signal
    just before a wait isn't slept over.
    """

    def __init__(self) -> None:
        self.stop_asked = False
        self._pipe = os.pipe()

    @contextmanager
    def caught(self) -> Iterator[None]:
        for end in self._pipe:
            os.set_blocking(end, False)
        wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._on_signal) for number in (*STOPPED_BY, signal.SIGCHLD)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            for end in self._pipe:
                os.close(end)

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes or the time is over."""
        if select.select([self._pipe[0]], [], [], max(0.0, seconds))[0]:
            os.read(self._pipe[0], 4096)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in STOPPED_BY:
            self.stop_asked = True


class Supervisor:
    """Starts programs in their order, watches over them, and ends them: the broker last.

    Call it from the main thread: the kernel ties a child's parent-death signal to the thread that started it.
    """

    def __init__(self, programs: list[Program], *, say: Say, watch_seconds: float = WATCH_SECONDS) -> None:
        self._running = [_Running(program) for program in programs]
        self._say = say
        self._signals = Signals()
        self._watch_seconds = watch_seconds
        self._watches: dict[_Running, _Watch] = {}
        self._shorten_at = 0.0
        self._leaving: list[tuple[int, float]] = []
        """Groups whose first process was killed, with the time until which their others may stay."""

    def run(self, *, on_ready: Callable[[], None]) -> None:
        """Returns after a signal asked for the end and every process is gone. Raises NotStarted."""
        descendants.adopt_orphans()
        with self._signals.caught():
            try:
                for running in self._running:
                    if not self._signals.stop_asked:
                        self._start(running)
                if not self._signals.stop_asked:
                    self._watches = {
                        running: _Watch(running, wait=self._watch_seconds)
                        for running in self._running
                        if running.program.is_answering
                    }
                    on_ready()
                while not self._signals.stop_asked:
                    self._signals.wait(TICK_SECONDS)
                    self._tend()
            finally:
                for watch in self._watches.values():
                    watch.stop()
                self._stop()

    def _start(self, running: _Running) -> None:
        """Start one and wait until it is ready, unless a signal comes first."""
        if running.program.said_at_start:
            self._say(running.program.said_at_start)
        running.start()
        deadline = time.monotonic() + READY_SECONDS
        while running.program.is_ready and not self._signals.stop_asked and not running.program.is_ready():
            if running.has_ended():
                raise NotStarted(f"{running.ending()}. Its log: {running.program.log}")
            if time.monotonic() > deadline:
                raise NotStarted(
                    f"{running.program.name} isn't ready after {READY_SECONDS:.0f} s. Its log: {running.program.log}"
                )
            self._signals.wait(0.05)

    def _tend(self) -> None:
        """Start again what died, once its delay is over."""
        for running in self._running:
            if running.has_ended():
                if running.program.ends:
                    if running.process and running.process.returncode != 0:
                        self._say(f"The {running.ending()}.")
                    elif running.program.done:
                        self._say(running.program.done)
                    running.process = None
                else:
                    ending, delay = running.ending(), running.plan_restart()
                    self._say(f"The {ending}; starting it again in {delay:g} s. Its log: {running.program.log}")
            elif running.restart_at is not None and time.monotonic() >= running.restart_at:
                running.start()
        self._restart_the_silent()
        self._end_those_left()
        self._reap_orphans()
        if time.monotonic() >= self._shorten_at:
            self._shorten_at = time.monotonic() + SHORTEN_SECONDS
            for running in self._running:
                if running.program.log is not None:
                    _shorten(running.program.log)

    def _restart_the_silent(self) -> None:
        """Kill what is alive and doesn't answer, with its children; the next look finds it dead."""
        for running, watch in self._watches.items():
            if running.is_alive() and (misses := watch.misses()) >= MISSES:
                self._say(f"The {running.program.name} hasn't answered {misses} times in a row; it is ended.")
                assert running.process is not None
                if running.program.children_leave_seconds:
                    until = time.monotonic() + running.program.children_leave_seconds
                    self._leaving.append((running.process.pid, until))
                    running.process.kill()
                else:
                    running.kill_group()
                running.process.wait()

    def _end_those_left(self) -> None:
        """Kill what stays of a silent program's group when its time to leave is over: it is stopped or stuck, too."""
        now = time.monotonic()
        over = {group for group, until in self._leaving if now >= until}
        if over:
            self._leaving = [(group, until) for group, until in self._leaving if group not in over]
            left = [process for process in descendants.descendants(os.getpid()) if descendants.group(process) in over]
            descendants.kill(left)

    def _reap_orphans(self) -> None:
        """Adopted processes that have ended wait for us; our own are left for their Popen to ask about."""
        own = {running.process.pid for running in self._running if running.process}
        for process in descendants.children(os.getpid()):
            if process not in own:
                descendants.reap(process)

    def _stop(self) -> None:
        """Web and scheduler are told first, then workers and download; the broker once all of those are gone."""
        started = time.monotonic()
        others = [running for running in self._running if not running.program.is_broker]
        brokers = [running for running in self._running if running.program.is_broker]
        for running in others:
            running.signal(signal.SIGTERM)
        self._await_end(others, until=started + LEAVE_SECONDS)
        # What is left below the workers, a training process in a session of its own for instance, goes now.
        spared = [broker.process.pid for broker in brokers if broker.process]
        descendants.kill([process for process in descendants.descendants(os.getpid()) if process not in spared])
        for running in brokers:
            running.signal(signal.SIGTERM)
        self._await_end(brokers, until=time.monotonic() + BROKER_LEAVE_SECONDS)
        descendants.kill(descendants.descendants(os.getpid()))
        for running in self._running:
            if running.process:
                running.process.wait()
        self._reap_orphans()

    def _await_end(self, group: list[_Running], *, until: float) -> None:
        while any(running.is_alive() for running in group) and (left := until - time.monotonic()) > 0:
            self._signals.wait(min(left, TICK_SECONDS))
        for running in group:
            running.kill_group()


def _shorten(log: Path) -> None:
    """Keep one old log beside the new one, so that a log never fills a disk.

    The file stays the same, as a running program has it open; it writes at the end of it, wherever that is.
    """
    try:
        if log.stat().st_size > LONGEST_LOG:
            shutil.copyfile(log, log.with_name(log.name + ".old"))
            os.truncate(log, 0)
    except OSError:  # there is none yet, or no space for a copy
        return


def _last_line(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
