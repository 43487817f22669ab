"""Metrics for other tools, beside metrics.jsonl: TensorBoard event files, Weights & Biases, MLflow.

HONE_TRACKERS names them between commas. Each has a thread of its own with a bounded queue: a step never waits for one,
and a tracker that fails says so once in the log and is left alone; metrics.jsonl stays the truth. Their own environment
variables say where W&B and MLflow send what (WANDB_API_KEY, WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI).
"""

import atexit
import json
import os
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from models_core.contract import atomic_write, third_party

VARIABLE = "HONE_TRACKERS"
MOST_WAITING = 5_000
"""Steps that wait for a slow tracker; further ones are left out of it."""
CLOSING_SECONDS = 20.0
IDS = "trackers.json"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}
NAMES = {"tensorboard": "TensorBoard event files", "wandb": "Weights & Biases", "mlflow": "MLflow"}


class Client(Protocol):
    """What third_party makes of each tracker's package."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self, status: str) -> None: ...


class Trackers:
    """All that HONE_TRACKERS names, for the run in a folder."""

    def __init__(self, folder: Path, *, stage: str, config: Mapping[str, Any], first_step: int = 0) -> None:
        self._threads = [
            _Tracker(name, _maker(name, folder, stage=stage, config=config, first_step=first_step)) for name in chosen()
        ]
        if self._threads:
            atexit.register(self.close, "stopped")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        numbers = {name: float(value) for name, value in values.items() if _is_number(value)}
        for tracker in self._threads:
            tracker.put(step, numbers)

    def close(self, status: str) -> None:
        """Give them CLOSING_SECONDS in all to write what waits."""
        threads, self._threads = self._threads, []
        for tracker in threads:
            tracker.end(status)
        for tracker in threads:
            tracker.join(CLOSING_SECONDS / len(threads))


class _Tracker(threading.Thread):
    def __init__(self, name: str, make: Callable[[], Client]) -> None:
        super().__init__(name=f"tracker-{name}", daemon=True)
        self._label, self._package, self._make = NAMES[name], PACKAGES[name], make
        self._waiting: queue.Queue[tuple[int, Mapping[str, float]] | str] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        self.start()

    def put(self, step: int, numbers: Mapping[str, float]) -> None:
        try:
            self._waiting.put_nowait((step, numbers))
        except queue.Full:
            self._left_out += 1

    def end(self, status: str) -> None:
        try:
            self._waiting.put(status, timeout=1.0)
        except queue.Full:
            self._left_out += 1

    def run(self) -> None:
        try:
            client = self._make()
            while not isinstance(item := self._waiting.get(), str):
                client.log(*item)
            client.close(item)
        except ImportError:
            _say(f"{self._label}: nothing is written, because the package {self._package} is not installed.")
        except BaseException as error:  # a client raises whatever its server makes of it, down to SystemExit
            _say(f"{self._label}: nothing more is written ({type(error).__name__}: {error}).")
        if self._left_out:
            _say(f"{self._label}: {self._left_out} steps were left out, because it was slower than the run.")


def chosen() -> list[str]:
    """The trackers that HONE_TRACKERS names; names that there are not are left out, as settings refuse them."""
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return [name for name in dict.fromkeys(names) if name in NAMES]


def _maker(name: str, folder: Path, *, stage: str, config: Mapping[str, Any], first_step: int) -> Callable[[], Client]:
    def make() -> Client:
        if name == "tensorboard":
            return third_party.tensorboard_client(folder / "tensorboard", first_step=first_step)
        identity = _identity(folder)
        title = f"{stage} {folder.parent.name if folder.name == 'run' else folder.name}"
        if name == "wandb":
            return third_party.wandb_client(folder, identity=identity, title=title, config=config)
        client, identity = third_party.mlflow_client(_stored(folder).get("mlflow", ""), title=title, config=config)
        atomic_write.write_json(folder / IDS, _stored(folder) | {"mlflow": identity})
        return client

    return make


def _identity(folder: Path) -> str:
    """A name of the run that is its own wherever its folder lies, the same when it is resumed."""
    stored = _stored(folder)
    if "id" not in stored:
        stored |= {"id": uuid.uuid4().hex[:16]}
        atomic_write.write_json(folder / IDS, stored)
    return stored["id"]


def _stored(folder: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((folder / IDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(sentence: str) -> None:
    print(" ".join(sentence.split())[:500], file=sys.stderr, flush=True)
