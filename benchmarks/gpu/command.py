"""What Hone computes on a GPU: `python -m benchmarks gpu [--minutes 8] [--device auto|cpu|cuda] [--tiny]`.

First correctness, on a tiny model: each recipe for two steps beside the CPU, greedy decoding, resuming, two processes.
Then figures, of a random Llama with 1.2 billion parameters: training, decoding, PPO. Nothing is fetched. Each part is a
process with a share of the minutes and is ended when that is over; what was not reached is named. A part that needs
less leaves the rest to those after it.

The last line is one JSON object: {"card", "minutes", "rows", "not_reached", "passes"}. Exit status 1 where a limit of
correctness is exceeded or such a part was not reached; goals that are missed change nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import cards, correctness, decode_speed, inputs, training_speed
from benchmarks.gpu.cards import Card
from benchmarks.gpu.child_parts import METHODS, Ended, follow
from benchmarks.gpu.rows import Bench, Row
from models_core.modeling import loading

LOOKING_SECONDS = 60.0
SPENT = 0.95
"""Of the minutes: importing and removing what was made takes the rest."""
LEAST_SECONDS = 2.0
"""A part that has less is not begun."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """share: of the time, beside those of the other parts."""

    run: Callable[[Bench, float], Iterator[Row]]
    share: float
    is_check: bool = False
    """Whether all is wrong without it."""


def models(bench: Bench, seconds: float) -> Iterator[Row]:
    """Make the models that the other parts read."""
    start = time.monotonic()
    inputs.make_model(Path(bench.tiny), inputs.TINY, device="cpu", dtype=torch.float32)
    if not bench.is_tiny:
        inputs.make_model(Path(bench.large), bench.shape, device=bench.device, dtype=torch.bfloat16)
    reward = loading.new_reward_model(bench.large, device="cpu", dtype=torch.bfloat16, seed=0)
    loading.save_reward_model(Path(bench.reward), reward, loading.load_tokenizer(bench.large))
    yield Row(what="parameters", value=bench.shape.parameters / 1e6, unit="million")
    yield Row(what="making models", value=time.monotonic() - start, unit="s")


PARTS = {
    "models": Part(run=models, share=1.0, is_check=True),
    "recipes": Part(run=correctness.recipes, share=2.0, is_check=True),
    "greedy": Part(run=correctness.decoding, share=0.5, is_check=True),
    "resume": Part(run=correctness.resuming, share=0.5, is_check=True),
    "nccl": Part(run=correctness.two_processes, share=0.7, is_check=True),
    "sft": Part(run=training_speed.sft, share=1.0),
    "reward_4": Part(run=training_speed.reward_of_4, share=1.0),
    "reward_9": Part(run=training_speed.reward_of_9, share=1.0),
    "decode": Part(run=decode_speed.decoding, share=1.5),
    "ppo": Part(run=training_speed.ppo, share=3.0),
}
"""In their order."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it has ended")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tiny", action="store_true", help="all of it on a tiny model, to see that it works")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--peer", metavar="PYTHON", help="Python that has TRL 1.12, where this one has not")
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        parser.error("--minutes is more than 0")
    deadline = time.monotonic() + SPENT * 60 * options.minutes
    card, method, reason = _looked(options.device, seconds=min(LOOKING_SECONDS, 60 * options.minutes))
    if card is None:
        print(reason, file=sys.stderr)
        return 2
    if card.device == "cpu" and not options.tiny:
        print("There is no card to measure: --tiny runs the whole benchmark on the CPU.", file=sys.stderr)
        return 2
    names = [name for name in PARTS if name == "models" or name in options.parts]
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        bench = Bench(card=card, folder=Path(folder), is_tiny=options.tiny, peer=options.peer, method=method)
        if card.device == "cpu":
            torch.set_num_threads(1)  # matrices this small gain nothing by threads
        report = Report(bench, minutes=options.minutes)
        report.heading()
        for number, name in enumerate(names):
            left = deadline - time.monotonic()
            shares = [PARTS[each].share for each in names[number:]]
            report.add(name, seconds=left * shares[0] / sum(shares))
    return report.close()


def _looked(device: str, *, seconds: float) -> tuple[Card | None, str, str]:
    """The card, how processes that use it are started, and why there is none.

    It is looked at in a process of its own: this one must not touch it, since others are forked from it.
    """
    reason = ""
    for method in METHODS:
        found: Card | None = None
        for each in follow(partial(_look, device), seconds=seconds, method=method):
            if not isinstance(each, Ended):
                found = each
            elif found is not None:
                return found, method, ""
            else:
                reason = each.reason.partition(": ")[2] or each.reason
        if "fork" not in reason:
            break
    return None, "", reason


def _look(device: str) -> Iterator[Card]:
    yield cards.look(device)


class Report:
    """Runs parts and prints what they find: a table, then one line of JSON."""

    def __init__(self, bench: Bench, *, minutes: float) -> None:
        self.bench, self.minutes = bench, minutes
        self.rows: list[dict[str, Any]] = []
        self.not_reached: list[dict[str, Any]] = []

    def heading(self) -> None:
        card = self.bench.card
        peak = f"{card.peak_flops / 1e12:.0f} Tflop/s of dense bf16" if card.peak_flops else "peak unknown"
        if card.device == "cuda" and not card.peak_flops:
            peak = "unknown card: no share of its peak is given"
        print(f"{card.name}, {card.memory / 1e9:.0f} GB, {peak}, torch {card.torch}")
        print(f"{'part':<10}{'what':<54}{'figure':>14} {'unit':<12}{'demanded':<12}verdict", flush=True)

    def add(self, name: str, *, seconds: float) -> None:
        """A part's rows, within its seconds."""
        if seconds < LEAST_SECONDS:
            self._miss(name, f"not begun: {max(seconds, 0.0):.1f} s were left")
            return
        for found in follow(partial(PARTS[name].run, self.bench, seconds), seconds=seconds, method=self.bench.method):
            if not isinstance(found, Ended):
                self.rows.append({"part": name, **found.as_json()})
                print(line(name, found), flush=True)
            elif found.reason:
                self._miss(name, found.reason)

    def _miss(self, name: str, reason: str) -> None:
        self.not_reached.append({"part": name, "reason": reason})
        print(f"{name:<10}not reached: {reason}", flush=True)

    def close(self) -> int:
        checks = {name for name, part in PARTS.items() if part.is_check}
        exceeded = [row for row in self.rows if row["limit"] is not None and not row["passes"]]
        is_right = not exceeded and not any(part["part"] in checks for part in self.not_reached)
        summary = {"card": self.bench.card.as_json(), "minutes": self.minutes, "tiny": self.bench.is_tiny}
        print(json.dumps(summary | {"rows": self.rows, "not_reached": self.not_reached, "passes": is_right}))
        return 0 if is_right else 1


def line(part: str, row: Row) -> str:
    """A row of the table."""
    if row.value is None:
        return f"{part:<10}{row.what:<54}{row.note}"
    demanded = f"<= {row.limit:g}" if row.limit is not None else f">= {row.goal:g}" if row.goal is not None else ""
    verdict = {True: "yes", False: "NO", None: ""}[row.passes]
    figure = f"{row.value:.3g}" if abs(row.value) < 1000 else f"{row.value:,.0f}"
    return f"{part:<10}{row.what:<54}{figure:>14} {row.unit:<12}{demanded:<12}{verdict} {row.note}".rstrip()
