"""A recipe in this process: what its steps came to, or how long they took."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models_core.contract.errors import Stopped
from models_core.contract.rows import json_lines
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, parse
from models_core.recipes import dpo, ppo, pretrain, reward, sft

RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "pretrain": pretrain.train, "sft": sft.train, "reward": reward.train, "dpo": dpo.train, "ppo": ppo.train,
}  # fmt: skip


class _Enough(BaseException):
    """The recipe is left: no `except Exception` of it stands in the way, and no checkpoint is written."""


class StepTimes(StopSignal):
    """Given to a recipe as its stop signal, it times the steps and leaves it when the time is up."""

    def __init__(self, *, until: float, device: str, least: int, most: int) -> None:
        super().__init__()
        self.until, self.device, self.least, self.most = until, device, least, most
        self.seconds: list[float] = []
        self._started = 0.0

    def step_began(self) -> None:
        synchronize(self.device)
        self._started = time.perf_counter()

    def step_ended(self) -> None:
        synchronize(self.device)
        self.seconds.append(time.perf_counter() - self._started)
        count = len(self.seconds)
        if count >= self.most or (count >= self.least and time.monotonic() >= self.until):
            raise _Enough


class StopAfter(StopSignal):
    """A stop that is asked for after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def step_ended(self) -> None:
        self.left -= 1
        self.requested = self.left <= 0


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def run(
    stage: str,
    out: Path,
    values: Mapping[str, Any],
    *,
    device: str,
    stop: StopSignal | None = None,
    **given: Any,
) -> bool:
    """Run a recipe; whether it came to its end, not to a stop or to enough steps."""
    settings = parse(STAGES[stage], dict(values))
    try:
        RECIPES[stage](settings, out=out, device=torch.device(device), stop=stop or StopSignal(), **given)
    except (_Enough, Stopped):
        return False
    return True


def weights(out: Path) -> dict[str, Tensor]:
    """The weights of the model that a run has made, in fp64."""
    return {name: each.double() for name, each in load_file(out / "model" / "model.safetensors").items()}


def steps(out: Path) -> list[dict[str, float]]:
    """What the steps of a run said, without times, rates, and shares of rows, which rounding changes by a row."""
    rows = json_lines.whole(out / "metrics.jsonl")
    passed_over = ("_per_s", "seconds", "accuracy", "fraction")
    return [
        {
            name: float(value)
            for name, value in row.items()
            if isinstance(value, int | float) and name != "time" and not name.endswith(passed_over)
        }
        for row in rows
    ]
