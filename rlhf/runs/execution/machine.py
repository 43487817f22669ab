"""Resources of this machine, and its kernel's counters of processes. Linux; elsewhere the unknown is None."""

import functools
import os
import platform
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from rlhf.runs.execution.monitoring import gpu_devices
from rlhf.runs.execution.monitoring.gpu_devices import GPUReading

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
GPU_SECONDS = 10
UNLIMITED = 2**60
"""A memory limit of a control group above this means that there is none."""


class Capacity(TypedDict):
    """Resources of a worker's machine: processor cores, bytes of memory, free bytes of the data folder; devices."""

    cores: int
    memory: int | None
    memory_free: int | None
    disk_free: int
    processor: str
    gpus: list[str]
    gpu_devices: list[GPUReading]


def capacity(data: Path) -> Capacity:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Capacity(
        cores=cores,
        memory=memory(),
        memory_free=memory_free(),
        disk_free=disk_free(data),
        processor=processor(),
        gpus=list(gpus()),
        gpu_devices=gpu_devices.of_this_process().readings(),
    )


@functools.cache
def processor() -> str:
    """The model's name; empty where the system doesn't tell."""
    found = re.search(r"^model name\s*:\s*(.+)$", _text(PROC / "cpuinfo"), re.MULTILINE)
    return found[1].strip()[:100] if found else platform.machine()


@functools.cache
def gpus() -> tuple[str, ...]:
    """Names and memory of the GPUs that this process may use, as nvidia-smi tells; asked once in a process."""
    if (program := shutil.which("nvidia-smi")) is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return ()
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=GPU_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip()[:100] for line in listing.split("\n") if line.strip())


def memory_in_words(words: str) -> int:
    """Bytes of a GPU's memory as `gpus` names it; 0 where it says none."""
    found = re.search(r", (\d+) MiB$", words)
    return int(found[1]) * 2**20 if found else 0


def memory_free() -> int | None:
    """Bytes of memory that a further process may use before the machine swaps or kills one."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(PROC / "meminfo"), re.MULTILINE)
    return min(int(found[1]) * 1024, memory() or 2**63) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def disk_free(folder: Path) -> int:
    """Bytes that may still be written below a folder that exists."""
    return shutil.disk_usage(folder).free


def memory() -> int | None:
    """Bytes of memory that processes here may use: the machine's, or less where a control group limits it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return min([total, *_group_limits()])


def oom_kills() -> int | None:
    """Processes that the kernel has ended for lack of memory since the machine started, control groups' included."""
    try:
        counters = (PROC / "vmstat").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return next((int(line.split()[1]) for line in counters.split("\n") if line.startswith("oom_kill ")), None)


class MemoryWatch:
    """Distinguishes a process that the kernel killed for lack of memory from one that was killed otherwise.

    `look` while the process lives. The kernel counts a kill when it sends the signal, and a process takes a while to
    give back its memory and end: a look in between sees the process alive and its kill counted. A kill of the last
    ENDING_SECONDS before the end is therefore most likely the process's own, whatever the last look saw.
    """

    ENDING_SECONDS = 15.0

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int | None]] = deque()
        self.look()

    def look(self) -> None:
        now = time.monotonic()
        self._looks.append((now, oom_kills()))
        # The first look that is kept is the newest one of before the time that a process takes to end.
        while len(self._looks) > 1 and self._looks[1][0] <= now - self.ENDING_SECONDS:
            self._looks.popleft()

    def ran_out(self) -> bool:
        kills = self._looks[0][1]
        return kills is not None and (oom_kills() or 0) > kills


def processor_ticks(session: int) -> int | None:
    """Clock ticks of processor time that the living processes of a session have used; None where there are none."""
    used = [int(stat[11]) + int(stat[12]) for stat in _stats() if int(stat[3]) == session]
    return sum(used) if used else None


def resident_memory(session: int) -> int | None:
    """Bytes of memory that the living processes of a session hold; None where there are none.

    Pages that several of them share count for each.
    """
    held = [int(stat[21]) for stat in _stats() if int(stat[3]) == session]
    return sum(held) * os.sysconf("SC_PAGE_SIZE") if held else None


def _stats() -> Iterator[list[str]]:
    """The fields of /proc/PID/stat from the state on (proc(5)): 3 is the session, 11 and 12 user and system time,
    21 the resident pages."""
    for path in PROC.glob("[0-9]*/stat"):
        try:
            # The name of the program, in brackets, may hold blanks and brackets.
            yield path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended


def _group_limits() -> list[int]:
    """Memory limits of the control groups (version 2 and 1) that this process is in."""
    try:
        groups = (PROC / "self/cgroup").read_text(encoding="utf-8").split("\n")
    except OSError:
        return []
    limits = []
    for line in filter(None, groups):
        _number, controllers, path = line.split(":", 2)
        if controllers == "":
            files = [(CGROUPS / path.lstrip("/"), "memory.max"), (CGROUPS, "memory.max")]
        elif "memory" in controllers.split(","):
            files = [(CGROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes")]
        else:
            continue
        limits += [limit for folder, name in files if (limit := _limit(folder / name)) is not None]
    return limits


def _limit(path: Path) -> int | None:
    try:
        limit = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" is no number
        return None
    return limit if 0 < limit < UNLIMITED else None
