"""How far one can optimise against a reward model: `python -m benchmarks overoptimization --prompts FILE --folder F`.

A gold reward stands for people. Proxies learn it from labels of several numbers of rankings; PPO runs against each of
them at several KL coefficients, and at several points of every run the responses to held-out prompts get their
gold and their proxy reward. Where the gold one falls while the other rises, the run optimises against its reward
model's mistakes (Gao et al. 2022, 2210.10760). The golds:

  positivity  how positive a response sounds; every size at every KL coefficient
  hidden      a reward model trained on people's preferences (--hidden FILE); the sizes of --hidden-sizes

Everything is made by the commands of models_core, in FOLDER, and what is there is not made again: an experiment that
was interrupted goes on, and one can grow by sizes, KL coefficients, seeds and golds. Every run appends a line to
FOLDER/results.jsonl; table and pictures are of all of them. Prompts of proxies, policies and measurements are disjoint.
"""

import argparse
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.gold_reward import prompts, proxies, stages
from benchmarks.gold_reward.golds import Gold, Hidden, Positivity
from benchmarks.gold_reward.stages import Row, Settings
from benchmarks.overoptimization import curves, plots
from benchmarks.overoptimization.curves import Fit

GOLDS = ("positivity", "hidden")
USUAL: Settings = {
    "sample": {"max_new_tokens": 64, "temperature": 0.7},
    "hidden": {"held_out": 0},
    "reward": {**proxies.USUAL},
    "ppo": {
        "episodes": 512,
        "batch_size": 32,
        "minibatches": 2,
        "learning_rate": 5e-4,
        "gae_lambda": 0.95,
        "value_init": "reward",
        "max_new_tokens": 64,
        "temperature": 0.7,
        "missing_eos_mode": "none",
        "eval_every": 2,
        "load_best_at_end": False,
        "zero_variance_patience": 0,
        "max_kl": 0,
        "min_entropy": 0,
    },
}
"""Of the stages; `hidden` is the gold reward model. Nothing stops a run: what lies past the peak is looked for."""
SAMPLES = 4
"""Responses to each prompt that proxies learn from."""


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    settings = stages.settings(options, parser, usual=USUAL)
    if "hidden" in options.golds and options.hidden is None:
        parser.error("the hidden gold reward needs --hidden, a file of pairs or rankings")
    path = options.folder / "results.jsonl"
    lots = prompts.lots(
        options.prompts,
        options.folder,
        held_out=options.held_out,
        policy=options.policy_prompts,
        longest=options.longest,
    )
    for name in options.golds:
        gold = _gold(name, options, settings)
        sizes = options.sizes if name == "positivity" else options.hidden_sizes
        used = {stage: values for stage, values in _texts(settings).items() if stage != "hidden" or name == "hidden"}
        for size in sizes:
            for kl_coef in options.kl_coefs:
                for seed in options.seeds:
                    key = {"gold": name, "size": size, "kl_coef": kl_coef, "seed": seed, "settings": used}
                    if not results.has(path, key):
                        row = measured(gold, size, kl_coef, seed, lots=lots, options=options, settings=settings)
                        results.append(path, key | row)
    rows = results.read(path)
    print(table(rows))
    for name in GOLDS:
        if own := [row for row in rows if row["gold"] == name]:
            plots.draw(own, fits(own), folder=options.plots or options.folder, gold=name)
    print(json.dumps({"runs": len(rows), **summary(rows)}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks overoptimization",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prompts", type=Path, required=True, metavar="FILE", help="prompts; the English single turns")
    parser.add_argument("--folder", type=Path, required=True, help="for all that is made; 1 GB a run, for its time")
    parser.add_argument("--golds", nargs="+", choices=GOLDS, default=["positivity"])
    parser.add_argument(
        "--hidden", type=Path, metavar="FILE", help="pairs or rankings that the hidden gold learns from"
    )
    parser.add_argument("--hidden-rows", type=int, default=400, metavar="N", help="of them; 0 takes all")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M", help="the SFT model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512], metavar="N", help="rankings of proxies")
    parser.add_argument("--hidden-sizes", type=int, nargs="+", default=[128], metavar="N", help="the same, hidden gold")
    parser.add_argument("--kl-coefs", type=float, nargs="+", default=[0.0, 0.05, 0.2], metavar="X", help="kl_coef")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument("--held-out", type=int, default=96, metavar="N", help="prompts to measure on")
    parser.add_argument("--policy-prompts", type=int, default=400, metavar="N")
    parser.add_argument("--longest", type=int, default=200, metavar="N", help="characters of a prompt")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="for the pictures; FOLDER by default")
    stages.settings_option(parser, stages=tuple(USUAL))
    return parser


def _gold(name: str, options: argparse.Namespace, settings: Settings) -> Gold:
    if name == "positivity":
        return Positivity()
    return Hidden(
        options.hidden,
        rows=options.hidden_rows,
        model=options.model,
        folder=options.folder / "hidden",
        settings=settings["hidden"],
    )


def measured(
    gold: Gold,
    size: int,
    kl_coef: float,
    seed: int,
    *,
    lots: prompts.Lots,
    options: argparse.Namespace,
    settings: Settings,
) -> dict[str, Any]:
    """One run of the grid: its proxy, shared by runs at other KL coefficients, its policy, and its points."""
    summary = proxy(gold, size, lots=lots, options=options, settings=settings)
    folder = options.folder / gold.name
    run = folder / f"run-{size}-{kl_coef:g}-{seed}"
    policy = stages.run(
        "ppo",
        out=run,
        settings={**settings["ppo"], "kl_coef": kl_coef, "seed": seed, "eval_prompts": options.held_out},
        model=options.model,
        reward=str(folder / f"proxy-{size}" / "model"),
        data=lots.policy,
        eval=lots.held_out,
    )
    points = curves.measured(run, gold)
    # A full model each, and its checkpoints; what was sampled along the way stays.
    for part in ("model", "checkpoints"):
        shutil.rmtree(run / part, ignore_errors=True)
    figures = {name: policy[name] for name in ("episodes", "seconds", "episodes_per_s")}
    return figures | {"proxy_accuracy": summary["accuracy"], "points": curves.plain(points)}


def proxy(
    gold: Gold, size: int, *, lots: prompts.Lots, options: argparse.Namespace, settings: Settings
) -> dict[str, Any]:
    """A reward model that learned from `size` rankings by the gold reward; its accuracy is on held-out prompts."""
    labels: dict[str, Path] = {}
    for number, (name, file) in enumerate((("rewards", lots.rewards), ("held-out", lots.held_out))):
        labels[name] = options.folder / gold.name / f"{name}.rankings.jsonl"
        if not labels[name].exists():
            rows = proxies.responses(
                file,
                out=options.folder / f"{name}.responses.jsonl",
                model=options.model,
                samples=SAMPLES,
                settings={**settings["sample"], "seed": number},
            )
            stages.write_rows(labels[name], proxies.ranked(rows, gold))
    return proxies.trained(
        stages.read(labels["rewards"]),
        rows=size,
        folder=options.folder / gold.name / f"proxy-{size}",
        model=options.model,
        settings=settings["reward"],
        measured=labels["held-out"],
    )


def fits(rows: Sequence[Row]) -> dict[int, Fit | None]:
    """The law for each size of proxy, over all of its runs; rows are of one gold reward."""
    sizes = sorted({row["size"] for row in rows})
    return {
        size: curves.fitted([point for row in rows if row["size"] == size for point in curves.points_of(row)])
        for size in sizes
    }


def table(rows: Sequence[Row]) -> str:
    """A line a run, and the law of each size. Rewards in deviations of the SFT model's responses."""
    lines = [
        "| gold | rankings | proxy right | KL coefficient | seed | KL at the end | proxy | gold | best gold, at KL |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row["gold"] != GOLDS[0], row["size"], row["kl_coef"], row["seed"])):
        points = curves.points_of(row)
        last, best = points[-1], max(points, key=lambda point: point.gold)
        lines.append(
            f"| {row['gold']} | {row['size']} | {row['proxy_accuracy']:.1%} | {row['kl_coef']:g} | {row['seed']} |"
            f" {last.kl:.2f} | {last.proxy:.2f} | {last.gold:.2f} | {best.gold:.2f}, {best.kl:.2f} |"
        )
    lines += ["", "| gold | rankings | alpha | beta | gold is best at KL |", "| --- | --- | --- | --- | --- |"]
    for name in GOLDS:
        own = [row for row in rows if row["gold"] == name]
        for size, fit in fits(own).items():
            if fit is not None:
                farthest = max(point.kl for row in own if row["size"] == size for point in curves.points_of(row))
                peak_kl = fit.peak**2 if fit.peak is not None else math.inf
                peak = f"{peak_kl:.1f}" if peak_kl <= farthest else f"beyond {farthest:.1f}, where no run went"
                lines.append(f"| {name} | {size} | {fit.alpha:.3f} | {fit.beta:.3f} | {peak} |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The fitted laws, for the last line."""
    figures: dict[str, Any] = {}
    for name in GOLDS:
        for size, fit in fits([row for row in rows if row["gold"] == name]).items():
            if fit is not None:
                figures[f"{name}_{size}"] = {"alpha": round(fit.alpha, 4), "beta": round(fit.beta, 4)}
    return figures


def _texts(settings: Settings) -> dict[str, Mapping[str, str]]:
    return {stage: {name: str(value) for name, value in values.items()} for stage, values in settings.items()}
