"""The best weights measured: kept, found again after a stop, and a reason to end early."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SFTConfig
from models_core.training import loop
from models_core.training.loop import Training

PLAN = [[number] for number in range(8)]
LOSSES = [5.0, 3.0, 4.0, 2.0, 2.5, float("nan"), 2.0, 9.0]
"""Best is step 4: an equal value later is no better."""


@pytest.fixture(autouse=True)
def _no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one weight below was prepared by no method and lies in no file."""
    monkeypatch.setattr(loop, "parameter_summary", lambda _: "one weight")
    monkeypatch.setattr(loop, "on_disk", lambda _: {})


class Run:
    """One weight that grows by one each step, and held-out losses from a list."""

    def __init__(self, folder: Path, *, resume: bool = False, stop_at: int = 0, **values: Any) -> None:
        self.settings = SFTConfig(precision="fp32", **values)
        self.stop = StopSignal()
        self.stop_at = stop_at
        self.training = Training(
            out=folder, stage="sft", settings=self.settings, models={}, data={}, device=torch.device("cpu"),
            stop=self.stop, resume=resume,
        )  # fmt: skip
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.training.optimizer("model", self.model, learning_rate=0.1)
        self.training.restore()
        self.seen: list[int] = []

    def train(self) -> dict[str, float]:
        for step, _ in self.training.steps(PLAN):
            with self.training.step(step, total=len(PLAN)), torch.no_grad():
                self.model.weight += 1
            self.training.measure(step, lambda step=step: {"eval_loss": LOSSES[step - 1]}, by="eval_loss")
            self.seen.append(step)
            self.stop.requested = step == self.stop_at
            self.training.between_steps(step, total=len(PLAN))
        return self.training.load_best()


def test_the_best_weights_are_the_result(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", eval_every=1)
    assert run.train() == {"eval_loss": 2.0, "best_step": 4}
    assert run.model.weight.item() == 4
    assert run.seen == list(range(1, 9))


def test_the_last_weights_stay_where_that_is_asked_for(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", eval_every=1, load_best_at_end=False)
    assert run.train() == {"eval_loss": 9.0, "best_step": 4}
    assert run.model.weight.item() == 8


def test_only_the_end_is_measured_by_default(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert run.train() == {"eval_loss": 9.0, "best_step": 8}
    assert run.model.weight.item() == 8


def test_patience_ends_a_run_that_no_longer_gains(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", eval_every=1, patience=2)
    assert run.train() == {"eval_loss": 2.0, "best_step": 4}
    assert run.seen[-1] == 6  # 5 is worse, 6 is not a number
    assert run.model.weight.item() == 4


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("patience", [0, 2])
def test_a_stopped_run_remembers(stop_at: int, patience: int, tmp_path: Path) -> None:
    given = {"eval_every": 1, "patience": patience, "save_every": 2}
    whole = Run(tmp_path / "whole", **given)
    expected = whole.train()
    if stop_at > whole.seen[-1]:
        return
    halves = Run(tmp_path / "halves", stop_at=stop_at, **given)
    with pytest.raises(Stopped):
        halves.train()
    resumed = Run(tmp_path / "halves", resume=True, **given)
    assert resumed.train() == expected
    assert halves.seen + resumed.seen == whole.seen
    assert resumed.model.weight.item() == whole.model.weight.item()


def test_a_kill_after_better_weights_were_saved_finds_those_of_its_checkpoint(tmp_path: Path) -> None:
    """The checkpoint of step 3 speaks of step 2; step 4, better, was saved when the machine went down."""
    killed = Run(tmp_path / "run", eval_every=1, save_every=3)
    for step, _ in killed.training.steps(PLAN[:4] + PLAN[4:]):
        with killed.training.step(step, total=len(PLAN)), torch.no_grad():
            killed.model.weight += 1
        killed.training.measure(step, lambda step=step: {"eval_loss": LOSSES[step - 1]}, by="eval_loss")
        if step == 4:
            break
        killed.training.between_steps(step, total=len(PLAN))
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["best-00000002", "best-00000004", "step-00000003"]
    resumed = Run(tmp_path / "run", resume=True, eval_every=1, save_every=3)
    assert resumed.training.best.step == 2
    assert resumed.train() == {"eval_loss": 2.0, "best_step": 4}
    assert resumed.model.weight.item() == 4


def test_the_newest_checkpoints_are_kept_as_asked(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", save_every=1, keep_checkpoints=3)
    run.train()
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000005", "step-00000006", "step-00000007"]
