"""Models that are trained for the comparison, each in a process of its own, as its user starts it."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from benchmarks.reward_accuracy.baselines import Scores
from benchmarks.reward_accuracy.judgments import Split, plain
from models_core.contract.rows import json_lines

PEER = Path(__file__).parent.with_name("trl_reward.py")
AT_ONCE = 2
"""Pairs of a forward pass of the peer."""
WHOLE = 131_072
"""Tokens of a held-out row: Hone scores all that the model's window holds, as the peer does."""


@dataclass(frozen=True)
class Trained:
    """Scores of the held-out responses, and what is worth saying of the run."""

    scores: Scores
    facts: Mapping[str, Any]


def hone(split: Split, *, model: str, seed: int, settings: Mapping[str, str], folder: Path, pairs: bool) -> Trained:
    """`models_core reward` on all training rows (none held out of them), then `score`.

    With `pairs` it gets what the peer gets, one pair of each ranking.
    """
    training = write(folder / "training.jsonl", split.pairs if pairs else map(plain, split.training))
    held_out = write(folder / "held-out.jsonl", map(plain, split.held_out))
    run, scores = folder / "run", folder / "scores.jsonl"
    given = {"held_out": "0", "save_every": "0", **settings, "seed": str(seed)}
    train = ["reward", "--model", model, "--data", str(training), "--out", str(run)]
    summary, memory = finished(
        [sys.executable, "-m", "models_core", *train, *(f"--set={name}={value}" for name, value in given.items())]
    )
    score = ["score", "--model", str(run), "--data", str(held_out), "--out", str(scores), f"--set=max_length={WHOLE}"]
    finished([sys.executable, "-m", "models_core", *score])
    rows = json_lines.whole(scores)
    facts = {"seconds": summary["seconds"], "peak_gb": memory / 1e6, "threads": threads()}
    return Trained([row["scores"] for row in rows], facts)


def trl(split: Split, *, peer: Path, model: str, seed: int, rate: float, max_length: int, folder: Path) -> Trained:
    """TRL's RewardTrainer on one pair of each training ranking."""
    groups = [{"prompt": row.messages, "responses": [each.text for each in row.responses]} for row in split.held_out]
    training, held_out = write(folder / "pairs.jsonl", split.pairs), write(folder / "groups.jsonl", groups)
    command = [str(peer), str(PEER), model, str(training), "--groups", str(held_out), f"--at-once={AT_ONCE}"]
    summary, _ = finished([*command, f"--rate={rate}", f"--seed={seed}", f"--max-length={max_length}"])
    return Trained(summary.pop("scores"), summary | {"threads": threads()})


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
