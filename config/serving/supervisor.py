"""Everything that Hone runs on one machine, under one supervisor: broker, workers, scheduler, web, model download.

The supervisor starts each program in a process group of its own, so that a Ctrl-C of the terminal reaches nobody but
the supervisor, which then ends them in order. It restarts what dies, and logs it.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config.serving import descendants

LAUNCH = Path(__file__).with_name("launch.py")
STOPPED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK_SECONDS = 0.25
"""Between two looks while programs stop."""
LOOK_SECONDS = 2.0
"""The longest time between two looks at health checks: a program's end and a restart that is due are seen at once."""
READY_SECONDS = 60.0

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 30.0
"""A program that ran for so long has recovered: its restart delay is reset."""

STOP_SECONDS = 3.6
"""All but the broker. A worker gives its running job 2.4 s of these to save a checkpoint."""
BROKER_STOP_SECONDS = 0.4
LONGEST_LOG = 5 * 2**20
TRUNCATE_SECONDS = 60.0
WATCH_SECONDS = 5.0
"""Between two health checks."""
STARTUP_SECONDS = 180.0
"""Grace period of a program that has not answered yet, in which failed health checks don't count."""
MAX_MISSES = 4
"""Failed health checks in a row after which a program is restarted. Each waits for its own timeout, so that a machine
that is only slow has half a minute and more."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Program:
    """Something to run. `is_ready` is asked until it answers yes before the next program starts.

    `is_responding` is asked continually from then on, in a thread of its own; a program that is alive and doesn't
    respond MAX_MISSES times in a row is killed and started again. Its process group is killed too: at once, or after
    `children_stop_seconds` where its children notice and have a run to put back.

    A program that `is_one_shot` isn't started again when it has exited. Without a `log` it writes where
    the supervisor does.
    """

    name: str
    command: list[str]
    log: Path | None = None
    is_ready: Callable[[], bool] | None = None
    is_responding: Callable[[], bool] | None = None
    before_start: Callable[[], object] | None = None
    start_message: str = ""
    end_message: str = ""
    """Message when a one-shot program has succeeded."""
    is_one_shot: bool = False
    is_broker: bool = False
    children_stop_seconds: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)


class NotStarted(Exception):
    """A program did not become ready; the message is for the user."""


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
        _truncate(self.program.log)
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

    def exit_description(self) -> str:
        """How it ended, with the last line of its log."""
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


class _HealthCheck:
    """Health checks of one program in a thread; counts the failed ones in a row.

    The count is that of the current process. One that has not answered yet, started again or not waited for, has a
    grace period, without which a slow machine would never get it up.
    """

    def __init__(self, running: _Running, *, wait: float) -> None:
        self._running = running
        self._wait = wait
        self._missed = 0
        self._process: object = None
        self._up: object = running.process if running.program.is_ready else None
        """The process that has answered before. Workers are not waited for, and a slow machine takes long over them."""
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name=f"watch {running.program.name}", daemon=True).start()

    def misses(self) -> int:
        return self._missed if self._process is self._running.process else 0

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        assert self._running.program.is_responding is not None
        while not self._stopped.wait(self._wait):
            process = self._running.process
            if process is None or process.poll() is not None:
                continue
            responded = self._running.program.is_responding()
            if responded:
                self._up = process
            elif self._up is not process and time.monotonic() - self._running.started_at < STARTUP_SECONDS:
                continue
            self._missed = 0 if responded else (self._missed + 1 if self._process is process else 1)
            self._process = process


class Signals:
    """SIGINT, SIGTERM and SIGHUP become a wish to stop; these and a child's end cut a wait short.

    A handler only sets a flag. The wait is interrupted through a pipe that the interpreter writes to, so that a signal
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
    """Starts programs in order, restarts those that die, and stops them: the broker last.

    Call it from the main thread: the kernel ties a child's parent-death signal to the thread that started it.
    """

    def __init__(self, programs: list[Program], *, say: Say, watch_seconds: float = WATCH_SECONDS) -> None:
        self._running = [_Running(program) for program in programs]
        self._out = say
        self._signals = Signals()
        self._watch_seconds = watch_seconds
        self._watches: dict[_Running, _HealthCheck] = {}
        self._truncate_at = 0.0
        self._stopping: list[tuple[int, float]] = []
        """(process group, time of its SIGKILL) where the first process was killed."""

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
                        running: _HealthCheck(running, wait=self._watch_seconds)
                        for running in self._running
                        if running.program.is_responding
                    }
                    on_ready()
                while not self._signals.stop_asked:
                    self._signals.wait(self._seconds_until_due())
                    self._maintain()
            finally:
                for watch in self._watches.values():
                    watch.stop()
                self._stop()

    def _start(self, running: _Running) -> None:
        """Start one and wait until it is ready, unless a signal comes first."""
        if running.program.start_message:
            self._say(running.program.start_message)
        running.start()
        deadline = time.monotonic() + READY_SECONDS
        while running.program.is_ready and not self._signals.stop_asked and not running.program.is_ready():
            if running.has_ended():
                raise NotStarted(f"{running.exit_description()}. Its log: {running.program.log}")
            if time.monotonic() > deadline:
                raise NotStarted(
                    f"{running.program.name} isn't ready after {READY_SECONDS:.0f} s. Its log: {running.program.log}"
                )
            self._signals.wait(0.05)

    def _maintain(self) -> None:
        """Restart what died, once its delay is over; truncate logs; reap orphans."""
        for running in self._running:
            if running.has_ended():
                if running.program.is_one_shot:
                    if running.process and running.process.returncode != 0:
                        self._say(f"The {running.exit_description()}.")
                    elif running.program.end_message:
                        self._say(running.program.end_message)
                    running.process = None
                else:
                    description, delay = running.exit_description(), running.plan_restart()
                    self._say(f"The {description}; starting it again in {delay:g} s. Its log: {running.program.log}")
            elif running.restart_at is not None and time.monotonic() >= running.restart_at:
                self._restart(running)
        self._end_unresponsive()
        self._kill_stopping_groups()
        self._reap_orphans()
        if time.monotonic() >= self._truncate_at:
            self._truncate_at = time.monotonic() + TRUNCATE_SECONDS
            for running in self._running:
                if running.program.log is not None:
                    _truncate(running.program.log)

    def _seconds_until_due(self) -> float:
        """Until the next restart or kill, and LOOK_SECONDS at most."""
        times = [running.restart_at for running in self._running if running.restart_at is not None]
        times += [until for _group, until in self._stopping]
        return min([LOOK_SECONDS, *(due - time.monotonic() for due in times)])

    def _restart(self, running: _Running) -> None:
        try:
            running.start()
        except OSError as error:  # no space for its log, or no process to be had: later there may be
            reason, delay = error.strerror or type(error).__name__, running.plan_restart()
            self._say(f"The {running.program.name} can't be started ({reason}); trying again in {delay:g} s.")

    def _say(self, line: str) -> None:
        """Nobody may be able to hear it: the output is on a full disk, or its terminal is gone."""
        with suppress(OSError):
            self._out(line)

    def _end_unresponsive(self) -> None:
        """Kill programs that failed too many health checks, with their process groups; `_maintain` restarts them."""
        for running, watch in self._watches.items():
            if running.is_alive() and (misses := watch.misses()) >= MAX_MISSES:
                self._say(f"The {running.program.name} failed {misses} health checks in a row and is killed.")
                assert running.process is not None
                if running.program.children_stop_seconds:
                    until = time.monotonic() + running.program.children_stop_seconds
                    self._stopping.append((running.process.pid, until))
                    running.process.kill()
                else:
                    running.kill_group()
                running.process.wait()

    def _kill_stopping_groups(self) -> None:
        """Kill what stays of a silent program's group when its time to leave is over: it is stopped or stuck, too."""
        now = time.monotonic()
        over = {group for group, until in self._stopping if now >= until}
        if over:
            self._stopping = [(group, until) for group, until in self._stopping if group not in over]
            left = [process for process in descendants.descendants(os.getpid()) if descendants.group(process) in over]
            descendants.kill(left)

    def _reap_orphans(self) -> None:
        """Adopted processes that have ended wait for us; our own are left for their Popen to ask about."""
        own = {running.process.pid for running in self._running if running.process}
        for process in descendants.children(os.getpid()):
            if process not in own:
                descendants.reap(process)

    def _stop(self) -> None:
        """SIGTERM to all but the broker, in their order; to the broker once all others have exited."""
        started = time.monotonic()
        others = [running for running in self._running if not running.program.is_broker]
        brokers = [running for running in self._running if running.program.is_broker]
        for running in others:
            running.signal(signal.SIGTERM)
        self._wait_for_exit(others, until=started + STOP_SECONDS)
        # What is left below the workers, a training process in a session of its own for instance, goes now.
        spared = [broker.process.pid for broker in brokers if broker.process]
        descendants.kill([process for process in descendants.descendants(os.getpid()) if process not in spared])
        for running in brokers:
            running.signal(signal.SIGTERM)
        self._wait_for_exit(brokers, until=time.monotonic() + BROKER_STOP_SECONDS)
        descendants.kill(descendants.descendants(os.getpid()))
        for running in self._running:
            if running.process:
                running.process.wait()
        self._reap_orphans()

    def _wait_for_exit(self, group: list[_Running], *, until: float) -> None:
        while any(running.is_alive() for running in group) and (left := until - time.monotonic()) > 0:
            self._signals.wait(min(left, TICK_SECONDS))
        for running in group:
            running.kill_group()


def _truncate(log: Path) -> None:
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
    if log is None:
        return ""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
