"""What each compiled kernel buys: whole rows (rollouts, SFT, reward, PPO) with it and without it, in pairs.

    python -m benchmarks kernels                             every row and operator: hours, on a quiet machine
    python -m benchmarks kernels --rows reward sft           some rows
    python -m benchmarks kernels --operators swiglu decoder  some operators
    python -m benchmarks kernels --tiny --model FOLDER       a few rows of a small model, to see that it works

A row is a command in a process of its own, as its user starts it. Each variant takes turns with the row that has every
kernel, the first of a pair alternating, and the figure is the median of the ratios of the pairs. Variants: one operator
by plain PyTorch; one by the best library way there is (torch.compile, torch's own attention); all plain. A kernel that
buys less than 10% of every row over both is not worth its code. What the commands say goes to standard error.
"""

import argparse
import json
import runpy
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import engine
from benchmarks.children import finished
from models_core.modeling import operators, packing
from models_core.modeling.operators import NAMES, Kernel

BASE = engine.BASE
LEAST_GAIN = 1.1
"""A kernel stays where a row with it is this many times as fast as without it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command to measure: its options, the figure that counts, and the operators that it calls."""

    command: str
    data: str
    figure: str
    operators: tuple[str, ...]
    settings: Mapping[str, Any]
    needs_reward: bool = False


LAYERS = ("rms_norm", "add_rms_norm", "apply_rope", "swiglu", "segment_attention")
STEP = ("gradient_norm", "adamw_step")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a row computes."""

    responses: int = 64
    rankings: int = 16
    demonstrations: int = 48
    episodes: int = 64
    new_tokens: int = 64
    characters: int | None = None
    """Of a response; all by default."""


TINY = Size(responses=4, rankings=2, demonstrations=4, episodes=4, new_tokens=4, characters=40)


def rows(size: Size) -> dict[str, Row]:
    """The rows by name."""
    fixed = {"precision": "bf16"}  # else each process measures what is faster
    return {
        "rollouts": Row(
            command="sample", data="prompts", figure="tokens_per_s", operators=("decoder",),
            settings=fixed | {"max_new_tokens": size.new_tokens},
        ),
        "sft": Row(
            command="sft", data="demonstrations", figure="tokens_per_s",
            operators=(*LAYERS, "softmax_errors", *STEP), settings=fixed | {"epochs": 1},
        ),
        "reward": Row(
            command="reward", data="rankings", figure="rankings_per_s", operators=(*LAYERS, *STEP),
            settings=fixed | {"epochs": 1, "held_out": 0},
        ),
        "ppo": Row(
            command="ppo", data="prompts", figure="episodes_per_s", operators=NAMES, needs_reward=True,
            settings=fixed | {
                "episodes": size.episodes, "batch_size": size.episodes // 2, "max_new_tokens": size.new_tokens,
            },
        ),
    }  # fmt: skip


def _rms_norm(states: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    return functional.rms_norm(states, weight.shape, weight, eps)


def _add_rms_norm(states: Tensor, added: Tensor, weight: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    states = states + added
    return states, functional.rms_norm(states, weight.shape, weight, eps)


def _apply_rope(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    rotated = torch.cat((-second, first), dim=-1)
    return states * cosine[..., None, :] + rotated * sine[..., None, :]


def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate) * up


def _softmax_errors(
    logits: Tensor, tokens: Tensor, *, temperature: float, wants_error: bool
) -> tuple[Tensor, Tensor | None]:
    log_probs = (logits.float() / temperature).log_softmax(-1)
    chosen = log_probs.gather(-1, tokens[:, None])
    if not wants_error:
        return chosen.squeeze(-1), None
    minus_one = torch.full_like(chosen, -1.0)
    return chosen.squeeze(-1), log_probs.exp().scatter_add(-1, tokens[:, None], minus_one).to(logits.dtype)


COMPILED: Mapping[str, Callable[..., Any]] = {
    "rms_norm": _rms_norm,
    "add_rms_norm": _add_rms_norm,
    "apply_rope": _apply_rope,
    "swiglu": _swiglu,
    "softmax_errors": _softmax_errors,
}
"""Plain formulas that torch.compile fuses, forwards and backwards."""
LIBRARY = (*COMPILED, "segment_attention")
"""Operators that a library has a fast way for; those of the optimizer are torch's fused ones when they are plain."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(rows(Size())), default=list(rows(Size())))
    parser.add_argument("--operators", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--runs", type=int, default=3, help="pairs for each variant")
    parser.add_argument("--model", default=BASE, metavar="M")
    parser.add_argument("--tiny", action="store_true", help="a few rows, to see that it works")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="settings of every command")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="in a child: WAY and the command line of models_core")
    options = parser.parse_args(arguments)
    if options.run:
        return run(options.run[0], options.run[1:])
    size = TINY if options.tiny else Size()
    figures: list[dict[str, Any]] = []
    print(f"{'row':<10}{'operator':<20}{'instead of it':<16}{'ratio':>8}  pairs", flush=True)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        commands = Commands(Path(folder), size=size, model=options.model, settings=options.set)
        for name in options.rows:
            for figure in measure(name, commands, chosen=options.operators, runs=options.runs):
                figures.append(figure)
                pairs = " ".join(f"{ratio:.2f}" for ratio in figure["pairs"])
                print(
                    f"{name:<10}{figure['operator']:<20}{figure['way']:<16}{figure['ratio']:>8.3f}  {pairs}", flush=True
                )
    kept = verdicts(figures)
    for operator, keeps in kept.items():
        print(f"{operator:<20}{'stays' if keeps else 'goes: under 10% of every row measured'}")
    print(json.dumps({"figures": figures, "stays": kept}))
    return 0


def verdicts(figures: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Whether each operator's kernel buys 10% of some row over the best other way."""
    best: dict[tuple[str, str], float] = {}
    for figure in figures:
        if figure["operator"] != "all":
            key = figure["operator"], figure["row"]
            best[key] = min(best.get(key, float("inf")), figure["ratio"])
    names = dict.fromkeys(operator for operator, _ in best)
    return {name: any(ratio >= LEAST_GAIN for (own, _), ratio in best.items() if own == name) for name in names}


class Commands:
    """The commands of the rows, over files that are written once."""

    def __init__(self, folder: Path, *, size: Size, model: str, settings: Sequence[str]) -> None:
        self.folder, self.size, self.model, self.settings = folder, size, model, list(settings)
        self.files = engine.write_data(
            folder,
            prompts=size.responses,
            rankings=size.rankings,
            demonstrations=size.demonstrations,
            characters=size.characters,
        )
        self.made = 0
        self._reward: Path | None = None

    def figure(self, row: Row, way: str) -> float:
        """What a row reads when its operators are computed this way, "OPERATOR=plain" or "OPERATOR=library"."""
        self.made += 1
        out = self.folder / f"{row.command}-{self.made}"
        reward = ["--reward", str(self.reward / "model")] if row.needs_reward else []
        result = self._finished(row, way, out.with_suffix(".jsonl") if row.command == "sample" else out, reward)
        return float(result[row.figure])

    @property
    def reward(self) -> Path:
        """A reward model for PPO, trained when it is first asked for."""
        if self._reward is None:
            self._reward = self.folder / "reward"
            self._finished(rows(self.size)["reward"], "none", self._reward, [])
        return self._reward

    def _finished(self, row: Row, way: str, out: Path, more: Sequence[str]) -> dict[str, Any]:
        line = [sys.executable, "-m", "benchmarks", "kernels", "--run", way, row.command, "--model", self.model]
        line += ["--data", str(self.files[row.data]), "--out", str(out), *more]
        line += [f"--set={name}={value}" for name, value in row.settings.items()]
        result, _ = finished([*line, *(f"--set={setting}" for setting in self.settings)])
        return result


def measure(name: str, commands: Commands, *, chosen: Sequence[str], runs: int) -> Iterator[dict[str, Any]]:
    """A row's figures: of each variant the ratios of the row with every kernel to the row without this one."""
    row = rows(commands.size)[name]
    ways = [("all", "plain", "all=plain")] if set(row.operators) <= set(chosen) else []
    for operator in row.operators:
        if operator in chosen:
            ways.append((operator, "plain", f"{operator}=plain"))
            ways += [(operator, "library", f"{operator}=library")] if operator in LIBRARY else []
    commands.figure(row, "none")  # compiles what this machine has never run
    for operator, kind, way in ways:
        pairs = []
        if kind == "library":
            commands.figure(row, way)  # torch.compile keeps on disk what it made; it still traces within the row
        for number in range(runs):
            order = ("none", way) if number % 2 == 0 else (way, "none")
            found = {each: commands.figure(row, each) for each in order}
            pairs.append(found["none"] / found[way])
        yield {"row": name, "operator": operator, "way": kind, "ratio": statistics.median(pairs), "pairs": pairs}


def run(way: str, command: Sequence[str]) -> int:
    """`python -m models_core COMMAND` in this process, one operator or all of them computed another way."""
    operator, _, kind = way.partition("=")
    names = NAMES if operator == "all" else (operator,)
    overrides: dict[str, Kernel | None] = {}
    if kind == "plain":
        overrides = dict.fromkeys(names)
    elif kind == "library" and operator in COMPILED:
        fused = torch.compile(COMPILED[operator], dynamic=True)
        overrides[operator] = Kernel(accepts=lambda *given, **named: True, load=lambda: fused)
    elif kind == "library":
        overrides[operator] = None
        packing.SMALL_ATTENTION = 0  # every segment goes to torch's own attention
    sys.argv = ["models_core", *command]
    with operators.replaced(**overrides):
        try:
            runpy.run_module("models_core", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0
