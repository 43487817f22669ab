"""Processor, memory and GPUs of a run's processes while they run, sampled by their worker into system/metrics.jsonl.

A line a sample: {"time", "every", "cores", "memory", "gpu_0_utilisation", "gpu_0_memory", ...}; memory in bytes,
"every" the seconds between samples. The file stays short: once it has MOST_SAMPLES, every second one goes, and samples
are taken half as often.
"""

import contextlib
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from models_core.contract import atomic_write
from models_core.contract.rows import json_lines
from rlhf.models import TrainingRun
from rlhf.runs.execution import machine
from rlhf.runs.execution.monitoring.gpu_devices import GPUDevices
from rlhf.runs.storage import run_artefacts

SECONDS = 5.0
MOST_SAMPLES = 2000
GIB = 2**30
IN_GIB = "memory"


class SystemMetrics:
    """Samples the processes of a session, and the GPUs that this worker may use."""

    def __init__(self, *, session: int, path: Path) -> None:
        self.session = session
        self.path = path
        samples = _samples(path)
        self._count = len(samples)
        self._every = max(SECONDS, float(samples[-1].get("every", SECONDS))) if samples else SECONDS
        self._sampled = time.monotonic()
        self._ticks = machine.processor_ticks(session)
        self._gpus = GPUDevices()

    def look(self) -> None:
        """Take a sample when it is time for one. Never raises: a run doesn't end for want of a curve."""
        now = time.monotonic()
        if now - self._sampled < self._every:
            return
        ticks, memory = machine.processor_ticks(self.session), machine.resident_memory(self.session)
        sample: dict[str, Any] = {"time": time.time(), "every": self._every}
        if ticks is not None and self._ticks is not None and ticks >= self._ticks:
            used = (ticks - self._ticks) / os.sysconf("SC_CLK_TCK")
            sample["cores"] = round(used / (now - self._sampled), 3)
        if memory is not None:
            sample["memory"] = memory
        self._sampled, self._ticks = now, ticks
        with contextlib.suppress(OSError):
            self._write(sample | _of_gpus(self._gpus))

    def _write(self, sample: dict[str, Any]) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")
        self._count += 1
        if self._count >= MOST_SAMPLES:
            kept = _samples(self.path)[1::2]
            self._every *= 2
            self._count = len(kept)
            atomic_write.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def _of_gpus(devices: GPUDevices) -> dict[str, float]:
    found: dict[str, float] = {}
    for reading in devices.readings():
        found[f"gpu_{reading['number']}_utilisation"] = reading["utilisation"]
        found[f"gpu_{reading['number']}_memory"] = reading["used"]
    return found


def names(run: TrainingRun) -> list[str]:
    """What was sampled while a run went on."""
    return list(series(run))


def series(run: TrainingRun) -> dict[str, list[list[float]]]:
    """{name: [minutes since the first sample, values]}; memory in GiB."""
    samples = _samples(run_artefacts.shown(run).system)
    points: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for sample in samples:
        for name, value in sample.items():
            if name in ("time", "every"):
                continue
            minutes, values = points[name]
            minutes.append(round((sample["time"] - samples[0]["time"]) / 60, 3))
            values.append(round(value / GIB, 3) if name.endswith(IN_GIB) else value)
    return {name: [minutes, values] for name, (minutes, values) in points.items()}


def _samples(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file, at most MOST_SAMPLES, whose values are numbers."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_SAMPLES * 1000).decode("utf-8", "replace")
    except OSError:
        return []
    rows = [json_lines.torn_or_whole(line) for line in json_lines.parts(text)]
    return [
        row
        for row in rows[-MOST_SAMPLES:]
        if row and isinstance(row.get("time"), float) and all(isinstance(value, int | float) for value in row.values())
    ]
