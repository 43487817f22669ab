"""Reward training beside that of TRL: `python -m benchmarks reward --peer ENV/bin/python --data rankings.jsonl`.

Both train the same model on the same rankings of K responses, in child processes and by turns: a machine is noisy, and
only figures of one sitting compare. The peer learns from the K (K - 1) / 2 pairs of a ranking one by one, in bf16,
eight pairs a step; Hone computes every response once. Rates are whole rankings a second of training alone. With
`--held-out` both then say how many pairs of other rankings they put in the right order.

The share is what Hone's products in linear layers, forward and back, would take at the rate this machine multiplies
large bf16 matrices at, of the time that training took. Attention's products are left out of it.

ENV is an environment of its own: `python -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers trl datasets`.
Without `--peer` Hone is measured alone.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from models_core.contract.rows import json_lines
from models_core.contract.settings import RewardConfig, parse

PEER = Path(__file__).with_name("trl_reward.py")
SIZES = ("4x16", "9x4")
SIDE, TRIES = 2048, 8
"""Of the square matrices whose product is timed, and how often."""


@dataclass(frozen=True)
class Size:
    """So many responses to each prompt, in so many rankings."""

    responses: int
    rankings: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        responses, _, rankings = text.partition("x")
        return cls(int(responses), int(rankings))

    def take(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The first rows that have so many responses, cut to them."""
        fitting = [row for row in rows if len(row["responses"]) >= self.responses][: self.rankings]
        if len(fitting) < self.rankings:
            raise SystemExit(f"There are only {len(fitting)} rankings of {self.responses} responses.")
        return [row | {"responses": row["responses"][: self.responses]} for row in fitting]


@dataclass(frozen=True)
class Reading:
    rankings_per_s: float
    gigabytes: float
    accuracy: float | None
    seconds: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks reward", description=__doc__)
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="Python that has TRL; without it Hone alone")
    parser.add_argument("--script", type=Path, default=PEER, metavar="FILE", help="what that Python runs")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="rankings (JSON lines)")
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="other rankings, to measure accuracy on")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M")
    parser.add_argument("--sizes", nargs="+", type=Size.parse, default=[Size.parse(size) for size in SIZES])
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=9e-6)
    parser.add_argument("--rounds", type=int, default=1, help="how often each trains")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Hone's")
    options = parser.parse_args(arguments)
    figures = {"matmul_gflops": round(matmul_rate() / 1e9)}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        for size in options.sizes:
            name = f"k{size.responses}"
            figures |= {f"{name}_{key}": value for key, value in compare(options, size, Path(folder) / name).items()}
    print(json.dumps(figures))
    return 0


def compare(options: argparse.Namespace, size: Size, folder: Path) -> dict[str, Any]:
    """Train both, as often as asked; the figures of one size, which are printed on the way."""
    from models_core.modeling import loading

    folder.mkdir()
    model = loading.locate(options.model)
    rows = size.take(read(options.data))
    data = write(folder / "rankings.jsonl", rows)
    commands = {"hone": hone_command} if options.peer is None else {"peer": peer_command, "hone": hone_command}
    readings: dict[str, list[Reading]] = {who: [] for who in commands}
    for number in range(options.rounds):
        for who, command in commands.items():
            line = command(options, size, data=data, model=model, out=folder / f"{who}-{number}")
            readings[who].append(reading(*finished(line), rankings=size.rankings))
            print(f"K={size.responses} {who:<5} {readings[who][-1]}", flush=True)
    best = {who: max(taken, key=lambda one: one.rankings_per_s) for who, taken in readings.items()}
    tokens = computed_tokens(rows, model=model, settings=parse(RewardConfig, hone_settings(options)))
    share = 6 * linear_weights(model) * tokens / best["hone"].seconds / matmul_rate()
    figures: dict[str, Any] = {"tokens": tokens, "matmul_share": round(share, 3)}
    for who, one in best.items():
        figures |= {
            f"{who}_rankings_per_s": round(one.rankings_per_s, 3),
            f"{who}_gb": round(max(each.gigabytes for each in readings[who]), 2),
            f"{who}_accuracy": one.accuracy,
        }
    print(f"K={size.responses}: {tokens} tokens computed, products at {share:.0%} of the machine's rate for large ones")
    if "peer" in best:
        figures["ratio"] = round(best["hone"].rankings_per_s / best["peer"].rankings_per_s, 1)
        figures["memory_ratio"] = round(figures["hone_gb"] / figures["peer_gb"], 3)
        print(f"K={size.responses}: {figures['ratio']} times as fast in {figures['memory_ratio']:.0%} of the memory")
    return figures


def peer_command(options: argparse.Namespace, size: Size, *, data: Path, model: str, out: Path) -> list[str]:
    out.mkdir()
    line = [str(options.peer), str(options.script), model, str(write(out / "pairs.jsonl", pairs(read(data))))]
    line += ["--rate", str(options.learning_rate), "--max-length", str(options.max_length)]
    return line + (
        ["--eval", str(write(out / "eval.jsonl", pairs(read(options.held_out))))] if options.held_out else []
    )


def pairs(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every strictly ordered pair of each ranking, as a user of the peer has to write them."""
    found = []
    for row in rows:
        ranked = [one for one in row["responses"] if one["rank"] is not None]
        for first, second in combinations(sorted(ranked, key=lambda one: one["rank"]), 2):
            if first["rank"] < second["rank"]:
                found.append({"prompt": row["prompt"], "chosen": first["text"], "rejected": second["text"]})
    return found


def hone_command(options: argparse.Namespace, size: Size, *, data: Path, model: str, out: Path) -> list[str]:
    command = [sys.executable, "-m", "models_core", "reward", "--model", model, "--data", str(data), "--out", str(out)]
    command += ["--eval", str(options.held_out)] if options.held_out else ["--set=held_out=0"]
    return command + [f"--set={name}={value}" for name, value in hone_settings(options).items()]


def hone_settings(options: argparse.Namespace) -> dict[str, str]:
    """What differs from the defaults of `reward`; --set comes last."""
    usual = {"max_length": options.max_length, "learning_rate": options.learning_rate, "save_every": 0}
    own = dict(text.split("=", 1) for text in options.set)
    return {name: str(value) for name, value in usual.items()} | own


def reading(summary: dict[str, Any], kilobytes: int, *, rankings: int) -> Reading:
    accuracy = summary.get("eval_accuracy", summary.get("accuracy"))
    return Reading(rankings / summary["seconds"], kilobytes / 1e6, accuracy, summary["seconds"])


def computed_tokens(rows: Sequence[dict[str, Any]], *, model: str, settings: RewardConfig) -> int:
    """Tokens that go through the layers in one pass over the rankings, cut into steps and packs as `reward` does."""
    from models_core.modeling import forward, loading
    from models_core.modeling.packing import pack
    from models_core.training import distributed
    from models_core.training.batching import minibatches

    tokenizer = loading.load_tokenizer(model)
    groups = [
        forward.encode_group(
            tokenizer,
            row["prompt"],
            [response["text"] for response in row["responses"]],
            max_length=settings.max_length,
        ).group
        for row in rows
    ]
    tokens = 0
    for step in minibatches(len(groups), size=settings.batch_size, epochs=1, seed=settings.seed):
        members = [groups[row] for row in step]
        costs = [group.cost(settings.prefix_sharing) for group in members]
        for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
            tokens += pack([members[row] for row in share.rows], sharing=settings.prefix_sharing).ids.shape[1]
    return tokens


def linear_weights(model: str) -> int:
    """Numbers in the linear layers of a model's trunk."""
    import torch
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        trunk = AutoModel.from_config(AutoConfig.from_pretrained(model))
    return sum(part.weight.numel() for part in trunk.modules() if isinstance(part, torch.nn.Linear))


def matmul_rate() -> float:
    """Floating-point operations a second of a large bf16 product on all threads: the best of several."""
    import torch

    one, other = (torch.ones(SIDE, SIDE, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def read(path: Path) -> list[dict[str, Any]]:
    return json_lines.whole(path)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
