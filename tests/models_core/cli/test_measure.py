"""Measurements before a training: real steps of each recipe on samples of its data, left in time without a trace."""

import argparse
import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from models_core import __main__ as command_line
from models_core.cli.commands import measure
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.settings import SFTConfig
from models_core.training.step_meter import Measurement, StepMeter
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

SMALL = ["--set", "precision=fp32", "--set", "batch_size=2", "--device", "cpu", "--set", "save_every=1"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def measured(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> dict[str, Any]:
    status = command_line.main(["measure", *words, *SMALL, "--out", str(out)])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert "4/4 steps" in shown.err
    result: dict[str, Any] = json.loads(out.read_text())
    assert json.loads(shown.out.strip().split("\n")[-1]).items() >= result.items()
    return result


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo", "pretrain", "ppo"])
def test_a_few_steps_of_each_recipe_are_measured(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    given: dict[str, list[str]] = {
        "sft": ["--data", str(recipe_runs.demonstrations(tmp_path))],
        "reward": ["--data", str(recipe_runs.rankings(tmp_path))],
        "dpo": ["--data", str(recipe_runs.rankings(tmp_path))],
        "ppo": ["--data", str(recipe_runs.prompts(tmp_path)), "--set", "max_new_tokens=4", "--set", "episodes=64"],
        "pretrain": ["--data", str(tmp_path / "corpus.txt"), "--set", "max_length=16"],
    }
    (tmp_path / "corpus.txt").write_text("An egg is boiled in water.\n\n" * 200)
    if stage == "ppo":
        given["ppo"] += ["--reward", str(recipe_runs.make_reward_model(tiny, tmp_path / "reward"))]
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "measured.json"
    result = measured(capsys, out, stage, "--model", str(tiny), *given[stage])
    assert (result["measured_steps"], result["measured_seconds"], result["device"]) == (4, 30, "cpu")
    assert result["seconds_per_step"] > 0
    assert result["peak_memory"] > 10 * 2**20
    # Neither a checkpoint nor a model is left, only the result.
    assert sorted(tmp_path.rglob("*")) == sorted([*before, out])


def test_samples_take_the_place_of_large_files(tmp_path: Path) -> None:
    rows = recipe_runs.demonstrations(tmp_path, count=2_000)
    given = argparse.Namespace(command="sft", data=[rows], eval=rows, replay=None)
    (tmp_path / "samples").mkdir()
    taken = measure._sample_files(given, SFTConfig(batch_size=16), folder=tmp_path / "samples")
    lines = given.data[0].read_bytes().split(b"\n")
    assert taken == 128 == len(lines) - 1
    numbers = [int(json.loads(line)["id"]) for line in lines[:-1]]
    # Drawn from some times as many, in their order.
    assert numbers == sorted(set(numbers))
    assert 128 < numbers[-1] < 4 * 128
    assert len(given.eval.read_bytes().split(b"\n")) - 1 == 64
    assert measure._changes(SFTConfig(batch_size=16, patience=3), taken) == {
        "save_every": 0, "eval_every": 0, "patience": 0, "epochs": SFTConfig().epochs,
    }  # fmt: skip
    assert measure._changes(SFTConfig(batch_size=16, epochs=1), 8)["epochs"] == 16


def test_a_step_that_takes_too_long_is_left_in_the_middle() -> None:
    meter = StepMeter(seconds=0.2, steps=4)

    def train(stop: Any) -> None:
        stop.step_began()
        stop.step_ended()
        stop.step_began()
        try:
            while True:  # the timer ends it, and only that
                time.sleep(0.01)
        except Exception as error:
            raise AssertionError("a recipe caught it") from error

    found = meter.measure(train)
    assert len(found.seconds) == 1
    # The one that was left has taken longer than the finished one already.
    assert found.unfinished > 0.1
    assert found.as_json()["seconds_per_step"] == round(found.unfinished, 4)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0

    def slow(stop: Any) -> None:
        stop.step_began()
        while True:
            time.sleep(0.01)

    nothing = StepMeter(seconds=0.2, steps=4).measure(slow).as_json()
    assert (nothing["seconds_per_step"], nothing["measured_steps"]) == (None, 0)
    assert nothing["measured_seconds"] == pytest.approx(3 * 0.2)


@pytest.mark.parametrize(
    ("seconds", "unfinished", "expected"),
    [
        ((9.0, 1.0, 2.0), 0.0, 1.5),
        ((9.0, 1.0, 2.0), 1.0, 1.5),
        ((9.0, 1.0, 2.0), 6.0, 3.0),
        ((9.0,), 3.0, 9.0),
        ((9.0,), 30.0, 30.0),
        ((), 90.0, None),
    ],
)
def test_the_first_step_does_not_count_where_there_are_others_and_a_long_unfinished_one_does(
    seconds: tuple[float, ...], unfinished: float, expected: float | None
) -> None:
    found = Measurement(seconds=seconds, unfinished=unfinished, limit=30, peak_memory=1, device="cpu")
    assert found.as_json()["seconds_per_step"] == expected


def test_a_failure_of_the_training_is_not_called_one_of_the_place(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("models_core.training.step_meter.StepMeter.measure", fail)
    data = ["--model", str(tiny), "--data", str(recipe_runs.demonstrations(tmp_path)), "--out", str(tmp_path / "m")]
    (tmp_path / "m.measuring" / "run").mkdir(parents=True)
    assert command_line.main(["measure", "sft", *data]) == 1
    assert (
        capsys.readouterr().err.strip().endswith("A file could not be read or written: [Errno 5] Input/output error.")
    )
    assert not (tmp_path / "m.measuring").exists()


def test_a_signal_leaves_it_at_once_and_keeps_nothing() -> None:
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(Stopped, match="The measurement was stopped"):
            StepMeter(seconds=60, steps=4).measure(lambda stop: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_what_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--model", str(tiny), "--data", str(recipe_runs.demonstrations(tmp_path)), "--out", str(tmp_path / "m")]
    assert command_line.main(["measure", "sft", *data, "--set", "processes=2"]) == 2
    assert "one process" in capsys.readouterr().err
    assert command_line.main(["measure", "sft", *data, "--set", "batch_size=0"]) == 2
    assert "batch_size must be" in capsys.readouterr().err
    (tmp_path / "demonstrations.jsonl").write_text("{}\n")
    assert command_line.main(["measure", "sft", *data]) == 2
    assert "line 1" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demonstrations.jsonl"]
    (tmp_path / "m.measuring").mkdir()
    (tmp_path / "m.measuring" / "notes.txt").write_text("mine")
    assert command_line.main(["measure", "sft", *data]) == 2
    assert "m.measuring is in the way, and it is not a measurement's" in capsys.readouterr().err
    assert (tmp_path / "m.measuring" / "notes.txt").read_text() == "mine"
    monkeypatch.setattr("models_core.training.step_meter.PREPARING_SECONDS", 0.2)
    with pytest.raises(BadInput, match="No step began"):
        StepMeter(seconds=1, steps=4).measure(lambda stop: time.sleep(60))
