"""The files of a run, read while they are being written.

HONE_DATA/runs/ID/inputs/      files made for the run from the database
HONE_DATA/runs/ID/run/         the run folder of models_core (its contract is described there)
HONE_DATA/runs/ID/log.txt      standard error of every attempt
HONE_DATA/runs/ID/output.txt   standard output of the last attempt; its last line is the summary
HONE_DATA/runs/ID/system/      processor, memory and GPUs while it ran (rlhf.runs.execution.monitoring.system_metrics)
HONE_DATA/runs/ID/failure.json why the last attempt failed (models_core.contract.runs.failure_report)
"""

import json
import math
import os
import re
import shutil
from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings

from models_core.contract.rows import json_lines
from rlhf.models import TrainingRun

MetricRow = tuple[int, str, float]
NOT_METRICS = frozenset({"step", "time"})
TAIL_BYTES = 20_000
MEASURED_BYTES = 500_000
CHECKPOINT_NAME = re.compile(r"step-(\d{1,12})")
PROGRESS_LINE = re.compile(r"^(\d{1,12})/(\d{1,12}) \w+$", re.MULTILINE)


class RunFiles:
    """The files of one run. Lines and documents may be incomplete."""

    def __init__(self, run: TrainingRun) -> None:
        self.path = settings.HONE_DATA / "runs" / str(run.pk)
        self.owner = f"run {run.pk} of {run.created_at.astimezone(UTC).isoformat()}"
        """Of no other run, of a database that was restored or made anew either."""
        self._offset = 0
        self._inode = 0

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def model(self) -> Path:
        return self.run / "model"

    @property
    def samples(self) -> Path:
        return self.run / "samples.jsonl"

    @property
    def reward_kl_plot(self) -> Path:
        return self.run / "reward_kl.svg"

    @property
    def system(self) -> Path:
        return self.path / "system" / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def output(self) -> Path:
        return self.path / "output.txt"

    @property
    def failure_file(self) -> Path:
        return self.path / "failure.json"

    def failure(self) -> dict[str, Any]:
        """failure.json, or {}."""
        return document(self.failure_file)

    @property
    def relative(self) -> str:
        return str(self.path.relative_to(settings.HONE_DATA))

    def make(self) -> None:
        """Create the folders. A run folder without run.json, of a killed attempt, is removed."""
        self.inputs.mkdir(parents=True, exist_ok=True)
        if self.run.exists() and not self.is_started:
            shutil.rmtree(self.run)

    @property
    def is_started(self) -> bool:
        return (self.run / "run.json").exists()

    @property
    def is_finished(self) -> bool:
        return self.result().get("status") == "succeeded"

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    def checkpoint_step(self) -> int | None:
        """Step of the newest checkpoint; None where there is none."""
        try:
            names = [path.name for path in self.checkpoints.iterdir()]
        except OSError:
            return None
        return max((int(found[1]) for name in names if (found := CHECKPOINT_NAME.fullmatch(name))), default=None)

    def result(self) -> dict[str, Any]:
        """result.json, or {}."""
        return document(self.run / "result.json")

    def summary(self) -> dict[str, Any]:
        """The JSON object on the last line of standard output, or {}."""
        for line in reversed(_tail(self.output).split("\n")):
            if line.strip():
                return _parsed(line)
        return {}

    def log_tail(self) -> str:
        return _tail(self.log)

    def progress(self) -> float | None:
        """Between 0 and 1; None before it is known. Commands without a run folder report it in their log."""
        reported = document(self.run / "progress.json")
        done, total = reported.get("done"), reported.get("total")
        if not reported and (counts := PROGRESS_LINE.findall(self.log_tail())):
            done, total = (int(count) for count in counts[-1])
        if not isinstance(done, int | float) or not isinstance(total, int | float) or total <= 0:
            return None
        return min(1.0, max(0.0, done / total))

    def seconds_per_step(self) -> float | None:
        """By the times of the last lines of metrics.jsonl, of which the first is left out: it holds the start."""
        try:
            with (self.run / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - MEASURED_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return None
        rows = [row for row in map(_parsed, json_lines.parts(text)[1:]) if isinstance(row.get("step"), int)]
        times = {row["step"]: row["time"] for row in rows if isinstance(row.get("time"), float)}
        if len(times) < 2:
            return None
        first, last = min(times), max(times)
        seconds = (times[last] - times[first]) / (last - first)
        return round(seconds, 4) if seconds > 0 else None

    def new_metrics(self) -> list[MetricRow]:
        """The (step, name, value) of the whole lines written since the last call.

        A resumed run rewrites the file, so another inode or a shorter file is read from its beginning again.
        """
        try:
            with (self.run / "metrics.jsonl").open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset = status.st_ino, 0
                file.seek(self._offset)
                block = file.read()
        except OSError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        # One row a (step, name): an upsert can't change the same row twice.
        found: dict[tuple[int, str], float] = {}
        for line in json_lines.parts(whole.decode("utf-8", "replace")):
            row = _parsed(line)
            step = row.get("step")
            if isinstance(step, int) and step >= 0:
                found |= {(step, name[:60]): float(value) for name, value in row.items() if _is_metric(name, value)}
        return [(step, name, value) for (step, name), value in found.items()]


def _is_metric(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return is_number and name not in NOT_METRICS


def document(path: Path) -> dict[str, Any]:
    """The JSON object of a file; {} where there is none."""
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _tail(path: Path) -> str:
    """The end of a text file, NUL characters removed because PostgreSQL stores none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").replace("\0", "")
    except OSError:
        return ""
