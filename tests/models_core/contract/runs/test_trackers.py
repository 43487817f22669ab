"""Metrics for other tools beside metrics.jsonl: they get every number, and can neither slow a run nor end it."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models_core.contract import third_party
from models_core.contract.runs import trackers
from models_core.contract.runs.run_folder import RunFolder
from models_core.contract.settings import SFTConfig


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n')
    return path


def started(tmp_path: Path, data: Path, *, resume: bool = False) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.check(
        stage="sft", settings=SFTConfig(epochs=2), models={"model": "m"}, data={"demonstrations": data}, threads=1,
        resume=resume,
    )  # fmt: skip
    run.create()
    return run


class Recorder:
    """A client that remembers. `gate`: it waits for it before the first step."""

    def __init__(self, gate: threading.Event | None = None, *, fails_at: int = 0) -> None:
        self.gate, self.fails_at = gate, fails_at
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.status = ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        if self.fails_at == step:
            raise ConnectionError("the server is gone")
        self.rows.append((step, values))

    def close(self, status: str) -> None:
        self.status = status


def choose(monkeypatch: pytest.MonkeyPatch, client: Any, *, names: str = "wandb") -> None:
    monkeypatch.setenv(trackers.VARIABLE, names)

    def make(*arguments: Any, **given: Any) -> Any:
        if isinstance(client, BaseException):
            raise client
        return client

    monkeypatch.setattr(third_party, "wandb_client", make)


def test_every_number_goes_to_a_tracker_and_the_end_too(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    choose(monkeypatch, recorder)
    run = started(tmp_path, data)
    run.log(1, loss=0.5, note="text", missing=float("nan"))
    run.log(2, loss=0.25, kl=3)
    run.finish(status="succeeded", metrics={})
    assert recorder.rows == [(1, {"loss": 0.5}), (2, {"loss": 0.25, "kl": 3.0})]
    assert recorder.status == "succeeded"


def test_a_run_never_waits_for_a_tracker(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = threading.Event()
    recorder = Recorder(gate)
    choose(monkeypatch, recorder)
    monkeypatch.setattr(trackers, "MOST_WAITING", 3)
    run = started(tmp_path, data)
    for step in range(1, 11):
        run.log(step, loss=1.0)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 10
    gate.set()
    run.finish(status="succeeded", metrics={})
    kept = len(recorder.rows)
    assert 3 <= kept < 10
    assert (
        f"Weights & Biases: {10 - kept} steps were left out, because it was slower than the run."
        in capfd.readouterr().err
    )


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (ImportError("no"), "Weights & Biases: nothing is written, because the package wandb is not installed."),
        (SystemExit(3), "Weights & Biases: nothing more is written (SystemExit: 3)."),
        (Recorder(fails_at=2), "Weights & Biases: nothing more is written (ConnectionError: the server is gone)."),
    ],
)
def test_a_tracker_that_fails_says_so_once_and_the_run_goes_on(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], client: Any,
    said: str,
) -> None:  # fmt: skip
    choose(monkeypatch, client)
    run = started(tmp_path, data)
    for step in range(1, 5):
        run.log(step, loss=1.0)
    run.finish(status="succeeded", metrics={})
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "succeeded"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4
    assert capfd.readouterr().err.count(said) == 1


def test_event_files_hold_each_step_once_also_of_a_resumed_run(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv(trackers.VARIABLE, "tensorboard")
    run = started(tmp_path, data)
    for step in range(1, 5):
        run.log(step, loss=1.0 / step)
    run._trackers.close("stopped")  # type: ignore[union-attr]
    again = started(tmp_path, data, resume=True)
    again.rewind(2)
    for step in range(3, 6):
        again.log(step, loss=10.0 / step)
    again.finish(status="succeeded", metrics={})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(event.step, round(event.value, 4)) for event in events.Scalars("loss")]
    assert found == [(1, 1.0), (2, 0.5), (3, 3.3333), (4, 2.5), (5, 2.0)]


def test_mlflow_keeps_one_run_that_a_resumed_one_goes_on_in(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the package mlflow-skinny is not installed")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv(trackers.VARIABLE, "mlflow")
    run = started(tmp_path, data)
    run.log(1, loss=0.5)
    run._trackers.close("stopped")  # type: ignore[union-attr]
    again = started(tmp_path, data, resume=True)
    again.log(2, loss=0.25)
    again.finish(status="succeeded", metrics={})
    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("hone").experiment_id])
    assert (found.info.status, found.data.params["epochs"]) == ("FINISHED", "2")
    assert [(each.step, each.value) for each in client.get_metric_history(found.info.run_id, "loss")] == [
        (1, 0.5), (2, 0.25),
    ]  # fmt: skip


def test_wandb_keeps_an_offline_run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv(trackers.VARIABLE, "wandb")
    run = started(tmp_path, data)
    run.log(1, loss=0.5)
    run.finish(status="succeeded", metrics={})
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert json.loads((tmp_path / "run" / "trackers.json").read_text())["id"] in file.name
    assert file.stat().st_size > 100
