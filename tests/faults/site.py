"""`manage.py serve` on a disk of its own, with its processes by name."""

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.load.service import Service
from config.serving import descendants
from tests.faults.database import Database

DISK = "3G"
"""Hone itself keeps some of a disk free for other things than runs."""
CLOCK_SOURCE = Path(__file__).with_name("clock.c")
WORKERS = {"default": "default worker", "cpu": "training worker", "live": "live worker"}
STOP_SECONDS = 30.0
LEAVE_SECONDS = 120.0
"""For a training to save a checkpoint on a machine with other things to do."""


class Site:
    """Hone in `folder`, which is a file system of its own where this user may mount one (`has_disk`)."""

    def __init__(self, folder: Path, *, port: int, database: Database | None) -> None:
        self.port, self.database = port, database
        self.ended_by_itself: list[str] = []
        """How the supervisor ended each time that nobody killed it: its exit status and its last words."""
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "hone-faults", str(self.data)]
        self.has_disk = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
        self._clock, self._preload = folder / "clock", folder / "clock.so"
        self.set_clock(0)
        self.has_clock = _compile(CLOCK_SOURCE, self._preload)
        os.environ.pop("DATABASE_URL", None)
        os.environ.pop("REDIS_URL", None)
        if database is not None:
            os.environ["DATABASE_URL"] = database.url
        self.service = Service(self.data, port, str(_base_model(self.data)), environment=self._environment())

    def await_up(self) -> None:
        self.service.await_up()

    def revive(self) -> None:
        """Start Hone again where its supervisor has ended, and keep how: no fault may end it but one that kills it."""
        if self.service.process.poll() is None:
            return
        last = self.service.said.read_text(errors="replace")[-500:]
        self.ended_by_itself.append(f"exit status {self.service.process.returncode}: {last}")
        self.restart()

    def restart(self) -> None:
        """After the supervisor was killed, as an operator or systemd does."""
        self.service.process.wait(STOP_SECONDS)
        # The others notice that their supervisor is gone; until they have left, the port and the data folder are taken.
        until = time.monotonic() + LEAVE_SECONDS
        while (left := self.leftovers()) and time.monotonic() < until:
            time.sleep(0.1)
        if left:
            names = "; ".join(map(_command, left))
            raise RuntimeError(f"Processes outlived their supervisor by {LEAVE_SECONDS:.0f} s: {names}")
        self.service.start(self._environment())
        self.service.await_up()

    def processes(self) -> dict[str, list[int]]:
        """Ids of the processes that run now, by name."""
        found: dict[str, list[int]] = {}
        for process in descendants.descendants(self.service.process.pid):
            if name := _name(process):
                found.setdefault(name, []).append(process)
        return found

    def set_clock(self, seconds: int) -> None:
        """Hone's clock goes so many seconds fast."""
        # In place: the processes have the file mapped.
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))

    def stop(self) -> list[int]:
        """End everything; the processes that are left, killed now."""
        process = self.service.process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        until = time.monotonic() + 5
        while (left := self.leftovers()) and time.monotonic() < until:
            time.sleep(0.1)
        descendants.kill(left)
        return left

    def unmount(self) -> None:
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.data)], check=False)

    def leftovers(self) -> list[int]:
        """Processes of this Hone, wherever they hang now."""
        mark = f"HONE_DATA={self.data}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def _environment(self) -> Mapping[str, str]:
        if not self.has_clock:
            return {}
        return {"LD_PRELOAD": str(self._preload), "FAULTS_CLOCK": str(self._clock)}


@contextlib.contextmanager
def stopped(processes: list[int], *, seconds: float) -> Iterator[None]:
    """SIGSTOP now, SIGCONT at the end."""
    signal_all(processes, signal.SIGSTOP)
    try:
        time.sleep(seconds)
        yield
    finally:
        signal_all(processes, signal.SIGCONT)


def signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _name(process: int) -> str:
    """What a process is; nothing for those that no fault is for."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        parents = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, ValueError):
        return ""
    if "gunicorn" in " ".join(words):
        return "web worker" if "gunicorn" in " ".join(parents) else "web master"
    if any(word.endswith("valkey-server") or "valkey-server" in word for word in words[:1]):
        return "broker"
    if "models_core" in words:
        return "training process"
    if "beat" in words:
        return "scheduler"
    if "worker" in words and "--queues" in words:
        name = WORKERS.get(words[words.index("--queues") + 1], "")
        return f"job of the {name}" if "--queues" in parents else name
    return ""


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:300]
    except OSError:
        return ""


def _compile(source: Path, library: Path) -> bool:
    """Make a library to preload; False where there is no C compiler."""
    if (compiler := shutil.which("cc")) is None:
        return False
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    return subprocess.run(command, check=False).returncode == 0


def _base_model(data: Path) -> Path:
    from tests.models_core.tiny import make_tiny_model

    return make_tiny_model(data / "tiny")
