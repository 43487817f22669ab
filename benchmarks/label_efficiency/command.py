"""Accuracy for each label, by the order of the queue: `python -m benchmarks labels --data rankings.jsonl --folder F`.

A reward model begins with some tasks drawn at random; then the tasks of the next batch are chosen by a rule, labeled,
and the model is fitted anew, again and again. All rules begin from the same tasks. The model is a linear head on the
hidden states of the untrained trunk (`head_init=fitted`), as an ensemble of bootstrapped heads: the same trunk for all
keeps what the rules differ in apart from the noise of training. Held-out prompts are labeled by no rule.

Every (seed, rule) appends a line to FOLDER/results.jsonl, and what is there is not made again. The last line is one
JSON object: the mean accuracy of each rule over the curve, and its difference to random order with a 95% interval over
seeds (Student's t on paired differences).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks import results
from benchmarks.gold_reward import labelers
from benchmarks.label_efficiency import chart
from benchmarks.label_efficiency.rules import RULES, Pool
from benchmarks.label_efficiency.tasks import Split, Tasks, split
from models_core.preferences import head_init
from models_core.preferences.bootstrap import poisson_counts

HEADS = 5


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    labelers.set_up()
    torch.set_num_threads(1)
    tasks = split(
        options.data,
        labels=options.labels,
        model=options.model,
        layers=options.layers,
        max_length=options.max_length,
        folder=options.folder,
    )
    sizes = range(options.start, min(options.until, len(tasks.pool)) + 1, options.batch)
    path = options.folder / "results.jsonl"
    setting = {
        **{name: getattr(options, name) for name in ("labels", "model", "layers", "max_length")},
        "data": options.data.name,
        "sizes": list(sizes),
        "pool": len(tasks.pool),
        "held_out": len(tasks.held_out),
    }
    for seed in options.seeds:
        for rule in options.rules:
            key = {"seed": seed, "rule": rule, **setting}
            if not results.has(path, key):
                results.append(path, key | {"accuracy": curve(tasks, rule=rule, sizes=sizes, seed=seed)})
    wanted = [row for row in results.read(path) if json.loads(json.dumps(setting)).items() <= row.items()]
    rows = [row for row in wanted if row["seed"] in options.seeds and row["rule"] in options.rules]
    print(f"{len(tasks.pool)} tasks to label, {len(tasks.held_out)} held out.\n\n{table(rows)}")
    if options.chart is not None:
        chart.draw(rows, options.chart)
    print(json.dumps(verdict(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks labels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="rankings")
    parser.add_argument("--folder", type=Path, required=True, help="for hidden states and results")
    parser.add_argument(
        "--labels", choices=("own", "positivity"), default="own", help="the file's, or a simulated taste"
    )
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M", help="the trunk")
    parser.add_argument("--layers", type=int, default=12, metavar="N", help="of the trunk; 0 all")
    parser.add_argument("--max-length", type=int, default=512, metavar="N", help="tokens of prompt and response")
    parser.add_argument("--rules", nargs="+", choices=tuple(RULES), default=tuple(RULES), metavar="RULE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="N")
    parser.add_argument("--start", type=int, default=32, metavar="N", help="labels at random to begin with")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="labels between two fits")
    parser.add_argument("--until", type=int, default=352, metavar="N", help="labels in all")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="an .svg of the curves")
    return parser


def curve(tasks: Split, *, rule: str, sizes: Sequence[int], seed: int) -> list[float]:
    """Held-out pair accuracy after each number of labels."""
    generator = np.random.default_rng([seed, 0])
    labeled = [int(place) for place in generator.permutation(len(tasks.pool))[: sizes[0]]]
    choosing = np.random.default_rng([seed, 1])
    heads = fitted(tasks.pool.subset(labeled), seed=seed)
    found = [accuracy(tasks.held_out, heads)]
    for size in sizes[1:]:
        waiting = sorted(set(range(len(tasks.pool))) - set(labeled))
        states = [tasks.pool.states[place] for place in waiting]
        pool = Pool(states, [each @ heads for each in states], [tasks.pool.states[place] for place in labeled])
        labeled += [waiting[place] for place in RULES[rule](pool, size - len(labeled), choosing)]
        heads = fitted(tasks.pool.subset(labeled), seed=seed)
        found.append(accuracy(tasks.held_out, heads))
    return found


def fitted(labeled: Tasks, *, seed: int) -> torch.Tensor:
    """Heads of an ensemble, each fitted to its own bootstrap of the tasks: [width, heads]"""
    probe = labeled.probe
    ridge, _loss = head_init.select_ridge(probe)
    counts = [poisson_counts(example.group.prompt, num_heads=HEADS, seed=seed) for example in labeled.examples]
    start = torch.zeros(labeled.states[0].shape[1], dtype=torch.float64)
    own = [[row[head] for row in counts] for head in range(HEADS)]
    fits = [
        head_init.fit_weights(probe, probe.pairs(each if any(each) else None), ridge=ridge, start=start) for each in own
    ]
    return torch.stack(fits, dim=1)


def accuracy(held_out: Tasks, heads: torch.Tensor) -> float:
    """Part of the held-out pairs that the mean head orders rightly."""
    right = pairs = 0.0
    for states, example in zip(held_out.states, held_out.examples, strict=True):
        scores = (states @ heads).mean(1)
        differences = [float(scores[pair.better] - scores[pair.worse]) for pair in example.pairs]
        right += sum((each > 0) + 0.5 * (each == 0) for each in differences)
        pairs += len(differences)
    return right / pairs


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean accuracy over seeds at each number of labels."""
    sizes = rows[0]["sizes"]
    lines = [f"| labels | {' | '.join(map(str, sizes))} |", f"| --- |{' --- |' * len(sizes)}"]
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row["accuracy"] for row in rows if row["rule"] == rule]
        lines.append(f"| {rule} | {' | '.join(f'{fmean(each):.1%}' for each in zip(*own, strict=True))} |")
    return "\n".join(lines)


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{rule: mean accuracy after the first batch, and minus random's with its interval over seeds}"""
    means: dict[str, dict[int, float]] = {}
    for row in rows:
        means.setdefault(row["rule"], {})[row["seed"]] = fmean(row["accuracy"][1:])
    found = {}
    for rule, own in means.items():
        found[rule] = {"accuracy": round(fmean(own.values()), 4)}
        shared = sorted(own.keys() & means.get("random", {}).keys())
        if rule != "random" and len(shared) > 1:
            differences = [own[seed] - means["random"][seed] for seed in shared]
            half = stats.t.ppf(0.975, len(shared) - 1) * stdev(differences) / len(shared) ** 0.5
            mean = fmean(differences)
            found[rule] |= {"minus_random": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}
    return {"seeds": len({row["seed"] for row in rows}), "rules": found}
