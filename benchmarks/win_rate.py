"""What people would gain by a run of PPO: `python -m benchmarks win_rate --prompts FILE --text FILE --folder FOLDER`.

A gold reward, how positive a response sounds, stands for people. A reward model learns it from labelled responses, a
policy learns from the reward model (or, with --reward gold, from the gold reward itself), and the gold reward says how
often the policy's responses to held-out prompts are better than the SFT model's, at what divergence per response. With
PPO-ptx besides: how much of that gain is left, and how well both still predict held-out text.

Everything is made by the commands of models_core, in FOLDER, and what is there is not made again: a benchmark that was
interrupted goes on, and one can grow by seeds and by settings of `ppo`. Every run appends a line to
FOLDER/results.jsonl. Choose settings with --choosing, in another folder: it holds out other prompts and never looks at
the first.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.gold_reward import prompts, proxies, stages
from benchmarks.gold_reward.golds import Positivity, Scores
from benchmarks.gold_reward.stages import Row, Settings

KINDS = ("ppo", "ptx")
GOLD_FUNCTION = "benchmarks.gold_reward.golds:positivity"
USUAL: Settings = {
    "sample": {"max_new_tokens": 64, "temperature": 0.7},
    "reward": {**proxies.USUAL},
    "ppo": {
        "episodes": 1024,
        "batch_size": 32,
        "minibatches": 2,
        "learning_rate": 4e-4,
        "kl_coef": 0.06,
        "gae_lambda": 0.95,
        "value_init": "reward",
        "max_new_tokens": 64,
        "temperature": 0.7,
        "missing_eos_mode": "none",
        "eval_every": 0,
        "load_best_at_end": False,
    },
    "ptx": {"ptx_coef": 0.2},
    "evaluate": {"ends": False, "documents": "blocks"},
}
"""Of the stages; `ptx` are those that PPO-ptx has besides the ones of `ppo`. Nothing is chosen by the held-out prompts:
the last weights are measured."""
ON_GOLD: Mapping[str, Any] = {"kl_coef": 0.02, "gae_lambda": 1.0, "value_init": "auto"}
"""Of `ppo` where the policy learns from the gold reward: its scores spread over a third of the proxy's range, and it is
no model that a value model could start from. What forecasts it as little as a fresh head does is no ground for a lambda
below 1."""
RESPONSES, REWARD_RESPONSES = 4, 8
"""Of each model to a held-out prompt, all pairs of which are compared, and to a prompt of the reward model."""
SAMPLE_SEED = 1000
GOAL_WIN_RATE, GOAL_KL, GOAL_GAIN, GOAL_PERPLEXITY = 0.85, 12.0, 0.9, 1.03


@dataclass(frozen=True)
class Start:
    """What every run starts from and is compared with."""

    lots: prompts.Lots
    reward: str
    responses: Scores  # gold scores of the SFT model's responses to the held-out prompts
    facts: Mapping[str, Any]
    learned_text: Path | None
    held_out_text: Path | None


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    of_policy = {**USUAL["ppo"], **(ON_GOLD if options.reward == "gold" else {})}
    settings = stages.settings(options, parser, usual={**USUAL, "ppo": of_policy})
    if "ptx" in options.kinds and options.text is None:
        parser.error("PPO-ptx needs --text")
    path = options.folder / "results.jsonl"
    start = prepared(options, settings)
    keys = []
    for seed in options.seeds:
        for kind in options.kinds:
            own = {name: str(value) for name, value in _policy_settings(kind, settings).items()}
            keys.append({"kind": kind, "seed": seed, "reward": options.reward, "settings": own})
            if not results.has(path, keys[-1]):
                results.append(path, keys[-1] | measured(kind, seed, start=start, options=options, settings=settings))
    rows = [row for row in results.read(path) if any(key.items() <= row.items() for key in keys)]
    if "proxy_accuracy" in start.facts:
        right, count = start.facts["proxy_accuracy"], start.facts["rankings"]
        print(f"The reward model learned from {count} rankings; it is right about {right:.1%} of the held-out pairs.\n")
    print(table(rows))
    print(json.dumps(verdict(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks win_rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=Path, required=True, metavar="FILE", help="prompts; the English single turns")
    parser.add_argument("--text", type=Path, metavar="FILE", help="plain text, a tenth of its blocks held out")
    parser.add_argument("--folder", type=Path, required=True, help="for all that is made; 1 GB a run, for its time")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M", help="the SFT model")
    parser.add_argument("--reward", choices=("proxy", "gold"), default="proxy", help="what the policy learns from")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--held-out", type=int, default=150, metavar="N", help="prompts to measure on")
    parser.add_argument("--policy-prompts", type=int, default=400, metavar="N")
    parser.add_argument("--rankings", type=int, default=0, metavar="N", help="for the reward model; 0 takes all")
    parser.add_argument("--longest", type=int, default=200, metavar="N", help="characters of a prompt")
    parser.add_argument("--held-out-text", type=int, default=100_000, metavar="N", help="characters to predict")
    parser.add_argument("--choosing", action="store_true", help="hold out other prompts instead")
    stages.settings_option(parser, stages=tuple(USUAL))
    return parser


def prepared(options: argparse.Namespace, settings: Settings) -> Start:
    """Prompts, the SFT model's responses, a reward model that learned the gold reward from them, and its perplexity."""
    folder, gold = options.folder, Positivity()
    sizes = {"held_out": options.held_out, "policy": options.policy_prompts, "longest": options.longest}
    lots = prompts.lots(options.prompts, folder, **sizes, choosing=options.choosing)
    before = _responses(options.model, lots.held_out, out=folder / "sft.responses.jsonl", seed=0, settings=settings)
    facts: dict[str, Any] = {}
    reward = GOLD_FUNCTION
    if options.reward == "proxy":
        labelled = proxies.responses(
            lots.rewards,
            out=folder / "rewards.responses.jsonl",
            model=options.model,
            samples=REWARD_RESPONSES,
            settings={**settings["sample"], "seed": SAMPLE_SEED - 1},
        )
        rankings = proxies.ranked(labelled, gold)
        known = stages.write_rows(folder / "held-out.rankings.jsonl", proxies.ranked(before, gold))
        summary = proxies.trained(
            rankings,
            rows=options.rankings or len(rankings),
            folder=folder / "proxy",
            model=options.model,
            settings=settings["reward"],
            measured=known,
        )
        reward = str(folder / "proxy" / "model")
        facts |= {"rankings": options.rankings or len(rankings), "proxy_accuracy": summary["accuracy"]}
    learned = held_out = None
    if options.text is not None:
        learned, held_out = _texts_of(options.text, folder, held_out=options.held_out_text)
        facts["perplexity_before"] = _perplexity(options.model, held_out, out=folder / "sft.text.json", of=settings)
    scores = gold.scores(before)
    facts["gold_before"] = fmean(score for own in scores for score in own)
    return Start(lots, reward, scores, facts, learned, held_out)


def measured(kind: str, seed: int, *, start: Start, options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Train one policy and measure it on what no model has seen."""
    own = _policy_settings(kind, settings)
    digest = hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:8]
    name = f"{options.reward}-{kind}-{digest}-{seed}"
    run = options.folder / name
    given: dict[str, Any] = {"data": start.lots.policy, "eval": start.lots.held_out}
    if kind == "ptx":
        given["ptx"] = start.learned_text
    own |= {"seed": seed, "eval_prompts": options.held_out}
    summary = stages.run("ppo", out=run, settings=own, model=options.model, reward=start.reward, **given)
    responses = _responses(
        str(run), start.lots.held_out, out=options.folder / f"{name}.responses.jsonl", seed=seed + 1, settings=settings
    )
    scores = Positivity().scores(responses)
    row = {name: summary[name] for name in ("episodes", "episodes_per_s", "seconds", "peak_gb", "stopped_early")}
    row |= {"kl": divergence(run), **win_rate(scores, start.responses), **start.facts}
    row["gold"] = fmean(score for own in scores for score in own)
    if start.held_out_text is not None:
        out = options.folder / f"{name}.text.json"
        row["perplexity"] = _perplexity(str(run), start.held_out_text, out=out, of=settings)
    # A full model each, and its checkpoints; what was sampled along the way stays.
    for part in ("model", "checkpoints"):
        shutil.rmtree(run / part, ignore_errors=True)
    return row


def win_rate(ours: Scores, theirs: Scores) -> dict[str, float | None]:
    """How often a response of ours is better than one of theirs to the same prompt; a tie counts as half a win.

    The interval is a bootstrap over prompts.
    """
    from models_core.reward_report.measures.intervals import estimate_mean

    wins, places = [], []
    for place, (own, others) in enumerate(zip(ours, theirs, strict=True)):
        for score in own:
            for other in others:
                wins.append(1.0 if score > other else 0.5 if score == other else 0.0)
                places.append(place)
    won = estimate_mean(np.array(wins), np.array(places))
    return {"win_rate": won.value, "win_rate_low": won.low, "win_rate_high": won.high}


def divergence(run: Path) -> float:
    """Nats by which the run's last policy leaves its reference, per response to a held-out prompt."""
    sampled = [row for row in stages.read(run / "samples.jsonl") if row["held_out"]]
    last = max(row["step"] for row in sampled)
    return fmean(row["logprob"] - row["reference_logprob"] for row in sampled if row["step"] == last)


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| run | seed | gold win rate | 95% interval | KL, nats | gold mean | perplexity | episodes/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['kind']} | {row['seed']} | {row['win_rate']:.1%} | {row['win_rate_low']:.1%} to"
            f" {row['win_rate_high']:.1%} | {row['kl']:.2f} | {row['gold_before']:.3f} to {row['gold']:.3f} |"
            f" {_perplexities(row)} | {row['episodes_per_s']:.2f} |"
        )
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> dict[str, Any]:
    """Whether every seed reaches the goals. PPO-ptx is compared with the PPO of its own seed."""
    plain = {row["seed"]: row for row in rows if row["kind"] == "ppo"}
    mixed = {row["seed"]: row for row in rows if row["kind"] == "ptx"}
    figures: dict[str, Any] = {}
    if plain:
        figures |= {
            "seeds": len(plain),
            "win_rate": fmean(row["win_rate"] for row in plain.values()),
            "kl": fmean(row["kl"] for row in plain.values()),
            "reached": all(row["win_rate"] >= GOAL_WIN_RATE and row["kl"] <= GOAL_KL for row in plain.values()),
        }
    # Of a run that gained nothing there is nothing to keep.
    if both := sorted(seed for seed in plain.keys() & mixed.keys() if plain[seed]["win_rate"] > 0.5):
        gains = [(mixed[seed]["win_rate"] - 0.5) / (plain[seed]["win_rate"] - 0.5) for seed in both]
        ratios = [mixed[seed]["perplexity"] / mixed[seed]["perplexity_before"] for seed in both]
        figures |= {
            "ptx_gain": fmean(gains),
            "ptx_perplexity_ratio": fmean(ratios),
            "ptx_reached": min(gains) >= GOAL_GAIN and max(ratios) <= GOAL_PERPLEXITY,
        }
    return figures


def _responses(model: str, held_out: Path, *, out: Path, seed: int, settings: Settings) -> list[Row]:
    own = {**settings["sample"], "seed": SAMPLE_SEED + seed}
    return proxies.responses(held_out, out=out, model=model, samples=RESPONSES, settings=own)


def _perplexity(model: str, text: Path, *, out: Path, of: Settings) -> float:
    summary = stages.run("evaluate", out=out, settings=of["evaluate"], model=model, data=text)
    return float(summary["perplexity"])


def _texts_of(path: Path, folder: Path, *, held_out: int) -> tuple[Path, Path]:
    """Two files of the text's blocks: those to learn from, and every tenth, up to so many characters."""
    blocks = [block for block in path.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    kept: list[str] = []
    size = 0
    for block in blocks[::10]:
        if size + len(block) <= held_out or not kept:
            kept.append(block)
            size += len(block)
    learned = [block for number, block in enumerate(blocks) if number % 10]
    files = folder / "text" / "learned.txt", folder / "text" / "held-out.txt"
    for file, part in zip(files, (learned, kept), strict=True):
        stages.write(file, "\n\n".join(part) + "\n")
    return files


def _perplexities(row: Row) -> str:
    return f"{row['perplexity_before']:.2f} to {row['perplexity']:.2f}" if "perplexity" in row else ""


def _policy_settings(kind: str, settings: Settings) -> dict[str, Any]:
    return {**settings["ppo"], **(settings["ptx"] if kind == "ptx" else {})}
