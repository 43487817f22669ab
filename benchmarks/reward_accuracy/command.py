"""`python -m benchmarks reward_accuracy --data FILE ... --results FILE`: how good reward models are.

Of every file of rankings or pairs, a fifth of the prompts is held out by their hash. On the other prompts' rows each
model learns; the held-out rows are the same for all, and so is what counts as right. The models:

  length      the longer response wins
  words       logistic regression on TF-IDF of words and pairs of words
  hone        `models_core reward`, its default settings or those of --set
  hone-pairs  the same on one pair of each ranking, which is what trl gets (on rows that are pairs: no difference)
  trl         TRL's RewardTrainer in bf16, one epoch, 8 pairs a step; needs --peer

Every result is appended to --results the moment it is there, with its scores; what is there already is not computed
again, so a comparison that was interrupted goes on, and one can grow by data, seeds and models. The table at the end
holds all results of the file: accuracy, mean over seeds, with a 95% bootstrap interval by prompt, and the difference
from `hone` on the same training rows with an interval of its own.

Choose a recipe with --choosing: it holds out another fifth of the prompts and never looks at the first.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.reward_accuracy import baselines, table, trained
from benchmarks.reward_accuracy.judgments import Split, right, split
from benchmarks.reward_accuracy.trained import Trained

MODELS = ("length", "words", "hone", "hone-pairs", "trl")
UNSEEDED = ("length", "words")
"""Models that know no chance; they run once, as seed 0."""


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)
    settings = dict(text.split("=", 1) for text in options.set)
    for path in options.data:
        rows = split(path, rows=options.rows, choosing=options.choosing)
        for seed in options.seeds:
            for model in options.models:
                if seed and model in UNSEEDED:
                    continue
                key = result_key(rows, model=model, seed=seed, settings=settings, options=options)
                if results.has(options.results, key):
                    continue
                print(f"{rows.name}: {model}, seed {seed} ...", file=sys.stderr, flush=True)
                result = learned(rows, model=model, seed=seed, settings=settings, options=options)
                results.append(options.results, key | dict(result.facts) | described(rows, result))
    print(table.drawn(results.read(options.results), files=options.data))
    return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks reward_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="rankings or pairs")
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="JSON lines, appended to")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["length", "words", "hone"], metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument("--rows", type=int, default=400, metavar="N", help="rows to train on; 0 takes all")
    parser.add_argument("--base", default="smollm2-135m-instruct", metavar="M", help="model that both start from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Hone's recipe")
    parser.add_argument("--choosing", action="store_true", help="hold out part of the training prompts instead")
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="Python that has TRL")
    parser.add_argument("--rate", type=float, default=9e-6, help="TRL's learning rate")
    parser.add_argument("--max-length", type=int, default=512, help="tokens beyond which TRL drops a pair")
    options = parser.parse_args(arguments)
    if "trl" in options.models and options.peer is None:
        parser.error("trl needs --peer, a Python that has TRL")
    if options.rows < 0 or min(options.seeds) < 0:
        parser.error("rows and seeds cannot be negative")
    if wrong := [text for text in options.set if "=" not in text]:
        parser.error(f"--set takes KEY=VALUE, not {wrong[0]}")
    return options


def result_key(
    rows: Split, *, model: str, seed: int, settings: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """What tells a result from another: same key, same result, but for the noise of the machine."""
    from models_core.contract.settings import RewardConfig, parse

    key: dict[str, Any] = {"data": rows.name, "rows": options.rows, "digest": rows.digest, "model": model, "seed": seed}
    if model.startswith("hone"):
        recipe = asdict(parse(RewardConfig, settings))
        # What cannot change the result, or is given for every run.
        for name in ("seed", "held_out", "save_every", "keep_checkpoints", "max_tokens_per_forward"):
            del recipe[name]
        key |= {"base": options.base, "recipe": recipe}
    if model == "trl":
        key |= {"base": options.base, "recipe": {"learning_rate": options.rate, "max_length": options.max_length}}
    return key


def learned(rows: Split, *, model: str, seed: int, settings: dict[str, str], options: argparse.Namespace) -> Trained:
    """Held-out scores of one model, trained where it has to be."""
    if model == "length":
        return Trained(baselines.length(rows.held_out), {})
    if model == "words":
        return Trained(baselines.words(rows.training, rows.held_out), {})
    from models_core.modeling import loading

    base = loading.locate(options.base)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        folder = Path(name)
        if model == "trl":
            peer: dict[str, Any] = {"peer": options.peer, "rate": options.rate, "max_length": options.max_length}
            return trained.trl(rows, model=base, seed=seed, folder=folder, **peer)
        pairs = model == "hone-pairs"
        return trained.hone(rows, model=base, seed=seed, settings=settings, folder=folder, pairs=pairs)


def described(rows: Split, result: Trained) -> dict[str, Any]:
    """What the table needs of a result: right pairs and all pairs of every held-out ranking, and whose they are."""
    counts = right(rows.held_out, result.scores)
    return {
        "training_rows": len(rows.training),
        "accuracy": float(counts[:, 0].sum() / counts[:, 1].sum()),
        "right": counts[:, 0].tolist(),
        "scores": [[round(score, 5) for score in own] for own in result.scores],
    }
