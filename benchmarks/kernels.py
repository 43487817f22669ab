"""What each compiled kernel buys: whole rows (rollouts, SFT, reward, PPO) with it and without it, in pairs.

    python -m benchmarks kernels                             every row and operator: half an hour, on a quiet machine
    python -m benchmarks kernels --rows reward sft           some rows
    python -m benchmarks kernels --operators decoder         some operators; a+b measures two as one
    python -m benchmarks kernels --tiny --model FOLDER       a few rows of a small model, to see that it works

A row is a command in a process of its own, as its user starts it. A training computes the same minibatch at every step,
and each variant's step stands between two with every kernel; the figure is the median over the rounds of its time to
their mean. Sampling runs whole commands the same way. Variants: all plain; one operator by plain PyTorch; one by the
best library way there is (torch's own attention). A kernel that buys less than 10% of every row over both is not worth
its code. What the commands say goes to standard error.
"""

import argparse
import json
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import engine
from benchmarks.children import finished
from models_core.modeling import operators, packing
from models_core.modeling.operators import NAMES, Kernel
from models_core.training.loop import Training

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
            operators=("segment_attention",), settings=fixed | {"epochs": 1},
        ),
        "reward": Row(
            command="reward", data="rankings", figure="rankings_per_s", operators=("segment_attention",),
            settings=fixed | {"epochs": 1, "held_out": 0},
        ),
        "ppo": Row(
            command="ppo", data="prompts", figure="episodes_per_s", operators=NAMES, needs_reward=True,
            settings=fixed | {
                "episodes": size.episodes, "batch_size": size.episodes // 2, "max_new_tokens": size.new_tokens,
            },
        ),
    }  # fmt: skip


LIBRARY = ("segment_attention",)
"""Operators that a library has a fast way for."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(rows(Size())), default=list(rows(Size())))
    parser.add_argument("--operators", nargs="+", type=operators_named, default=list(NAMES), metavar="NAME[+NAME...]")
    parser.add_argument("--runs", type=int, default=3, help="rounds: turns of each variant")
    parser.add_argument("--model", default=BASE, metavar="M")
    parser.add_argument("--tiny", action="store_true", help="a few rows, to see that it works")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="settings of every command")
    child = parser.add_argument_group("in a child process")
    child.add_argument("--way", default="none", help="of the whole command")
    child.add_argument("--turns", type=Path, metavar="FILE", help="the way of each step, as a JSON list")
    child.add_argument("--run", nargs=argparse.REMAINDER, help="the command line of models_core")
    options = parser.parse_args(arguments)
    if options.run:
        turns = json.loads(options.turns.read_text(encoding="utf-8")) if options.turns else []
        return run(options.run, way=options.way, turns=turns)
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


def operators_named(text: str) -> str:
    """One operator, or several that are measured as one: segment_attention+decoder."""
    if unknown := set(text.split("+")) - set(NAMES):
        raise argparse.ArgumentTypeError(f"there is no operator {unknown.pop()}; they are {', '.join(NAMES)}")
    return text


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

    def seconds(self, row: Row, turns: Sequence[str]) -> list[float]:
        """What each turn of a row took, computed the way that it names: "OPERATOR=plain" or "OPERATOR=library"."""
        if row.command == "sample":
            return [self._sampled(row, way) for way in turns]
        file = self.folder / "turns.json"
        file.write_text(json.dumps(list(turns)), encoding="utf-8")
        reward = ["--reward", str(self.reward)] if row.needs_reward else []
        plan = {"epochs": len(turns)} if row.command != "ppo" else {"episodes": len(turns) * self.size.episodes // 2}
        found: list[float] = self._finished(row, ["--turns", str(file)], reward, plan)["turns"]
        return found

    @property
    def reward(self) -> Path:
        """A reward model for PPO, trained when it is first asked for."""
        if self._reward is None:
            trained = self._finished(rows(self.size)["reward"], ["--way", "none"], [], {})
            self._reward = Path(trained["out"]) / "model"
        return self._reward

    def _sampled(self, row: Row, way: str) -> float:
        return 1 / float(self._finished(row, ["--way", way], [], {})[row.figure])

    def _finished(
        self, row: Row, how: Sequence[str], more: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.made += 1
        out = self.folder / f"{row.command}-{self.made}{'.jsonl' if row.command == 'sample' else ''}"
        line = [sys.executable, "-m", "benchmarks", "kernels", *how, "--run", row.command, "--model", self.model]
        line += ["--data", str(self.files[row.data]), "--out", str(out), *more]
        line += [f"--set={name}={value}" for name, value in {**row.settings, **settings}.items()]
        result, _ = finished([*line, *(f"--set={setting}" for setting in self.settings)])
        return result | {"out": str(out)}


def measure(name: str, commands: Commands, *, chosen: Sequence[str], runs: int) -> Iterator[dict[str, Any]]:
    """A row's figures: of each variant how many times as long a turn takes as with every kernel."""
    row = rows(commands.size)[name]
    ways = [("all", "plain", "all=plain")] if set(row.operators) <= set(chosen) else []
    for operator in chosen:
        if set(operator.split("+")) <= set(row.operators):
            ways.append((operator, "plain", f"{operator}=plain"))
            ways += [(operator, "library", f"{operator}=library")] if operator in LIBRARY else []
    # Each way once before it is measured: what was compiled is kept.
    warm = ["none", *(way for *_, way in ways), "none"]
    turns = list(warm)
    for number in range(runs):
        for *_, way in ways if number % 2 == 0 else reversed(ways):
            turns += [way, "none"]
    seconds = commands.seconds(row, turns)
    ratios: dict[str, list[float]] = {way: [] for *_, way in ways}
    for place in range(len(warm), len(turns), 2):
        ratios[turns[place]].append(2 * seconds[place] / (seconds[place - 1] + seconds[place + 1]))
    for operator, kind, way in ways:
        yield {
            "row": name,
            "operator": operator,
            "way": kind,
            "ratio": statistics.median(ratios[way]),
            "pairs": ratios[way],
        }


@contextmanager
def computed(way: str) -> Iterator[None]:
    """Within it one operator, or all of them, are computed another way."""
    operator, _, kind = way.partition("=")
    names = NAMES if operator == "all" else operator.split("+")
    overrides: dict[str, Kernel | None] = {}
    small = packing.SMALL_ATTENTION
    if kind == "plain":
        overrides = dict.fromkeys(names)
    elif kind == "library":
        overrides[operator] = None
        packing.SMALL_ATTENTION = 0  # every segment goes to torch's own attention
    try:
        with operators.replaced(**overrides):
            yield
    finally:
        packing.SMALL_ATTENTION = small


class Turns:
    """Steps of one training that are computed in turn the ways asked for; each of them the same minibatch."""

    def __init__(self, ways: Sequence[str]) -> None:
        self.ways = ways
        self.seconds: list[float] = []
        self._steps, self._step = Training.steps, Training.step

    def install(self) -> None:
        turns = self

        def steps(training: Training, plan: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            return turns._steps(training, [plan[0]] * len(plan))

        @contextmanager
        def step(training: Training, number: int, **named: Any) -> Iterator[None]:
            if len(turns.seconds) == len(turns.ways):
                print(json.dumps({"turns": turns.seconds}))
                raise SystemExit(0)
            with computed(turns.ways[len(turns.seconds)]), turns._step(training, number, **named):
                started = time.perf_counter()
                yield
                turns.seconds.append(time.perf_counter() - started)

        Training.steps = steps  # type: ignore[method-assign, assignment]
        Training.step = step  # type: ignore[method-assign, assignment]


def run(command: Sequence[str], *, way: str, turns: Sequence[str]) -> int:
    """`python -m models_core COMMAND` in this process, as a whole computed one way or by turns."""
    measured = Turns(turns)
    if turns:
        measured.install()
    sys.argv = ["models_core", *command]
    try:
        with computed(way):
            runpy.run_module("models_core", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if turns and len(measured.seconds) == len(turns) and not ended.code:
            print(json.dumps({"turns": measured.seconds}))
        return int(ended.code or 0)
    return 0
