"""`python -m benchmarks [engine]`: measure, say it in a table, and end with one JSON line.

`python -m benchmarks queue --tasks N --labelers M` what a submit with the next task costs,
`python -m benchmarks pages --tasks N` what a manager's pages cost at N tasks and judgments,
`python -m benchmarks locks --tasks N` how long a manager's changes hold SQLite's write lock,
`python -m benchmarks pretraining --data corpus.txt` compares a pretrained model with what counting alone can do,
`python -m benchmarks methods --data demonstrations.jsonl` the fine-tuning methods with each other,
`python -m benchmarks rollouts` sampling with transformers' generate,
`python -m benchmarks kernels` rollouts, SFT, reward training and PPO with and without each compiled kernel,
`python -m benchmarks plan` the memory that `models_core plan` reckons with beside what trainings take,
`python -m benchmarks sft --peer ENV/bin/python --data demonstrations.jsonl` fine-tuning with that of TRL,
`python -m benchmarks reward --peer ENV/bin/python --data rankings.jsonl` reward training with that of TRL,
`python -m benchmarks reward_accuracy --data rankings.jsonl --results FILE` reward models on held-out rows,
`python -m benchmarks ppo_vs_peer --peer ENV/bin/python --data prompts.jsonl --reward RM` PPO with that of TRL,
`python -m benchmarks load --folder FOLDER` what many people at once notice of training, import and export,
`python -m benchmarks win_rate --prompts FILE --text FILE --folder FOLDER` what a gold reward gains by PPO,
`python -m benchmarks overoptimization --prompts FILE --folder FOLDER` what it loses by too much of it.
`python -m benchmarks rounds --prompts FILE --folder FOLDER` the gold win rate over rounds with simulated labelers,
`python -m benchmarks labels --data rankings.jsonl --folder FOLDER` accuracy for each label, by the order of the queue,
`python -m benchmarks data --rankings N` exports of N rankings and an import of prompts, and the pages meanwhile,
`python -m benchmarks trainers --peer ENV/bin/python` a step of TRL's trainers on each export, transformers on models,
`python -m benchmarks measures --judgments N` what keeping and showing the measures of quality costs,
`python -m benchmarks gateway` what the gateway adds to an upstream's time to the first token,
`python -m benchmarks api` what a submit by the API costs beside the page's own,
`python -m benchmarks launch` a run started from its page beside the same command by hand,
`python -m benchmarks scale` 10,000 labelers and 100,000,000 tasks, simulated with the measured service times,
`python -m benchmarks gpu` what a GPU computes beside the CPU, and how fast: training, decoding and PPO,
`python -m benchmarks aggregation --data annotations.jsonl` which consensus of labelers predicts a held-out vote.
"""

import argparse
import json
import sys
from importlib import import_module

from benchmarks import engine

PARTS = {"engine": engine.measure}
COMPARISONS = {
    "queue": "labeling_queue",
    "pages": "manager_pages",
    "locks": "write_locks",
    "pretraining": "pretraining",
    "methods": "fine_tuning",
    "rollouts": "rollouts",
    "kernels": "kernels",
    "plan": "memory_estimate",
    "sft": "sft",
    "reward": "reward",
    "reward_accuracy": "reward_accuracy.command",
    "ppo_vs_peer": "ppo_vs_peer",
    "win_rate": "win_rate",
    "rounds": "closed_loop.command",
    "labels": "label_efficiency.command",
    "load": "load.command",
    "data": "data_files",
    "trainers": "trainers",
    "overoptimization": "overoptimization.command",
    "aggregation": "aggregation",
    "measures": "measures",
    "gateway": "gateway_overhead",
    "api": "api_overhead",
    "launch": "run_launch",
    "scale": "scale.command",
    "gpu": "gpu.command",
}
"""Modules by their names on the command line, loaded when asked for: one of them loads torch."""


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMPARISONS:
        comparison = import_module(f"benchmarks.{COMPARISONS[arguments[0]]}")
        status: int = comparison.main(arguments[1:])
        return status
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)}; all of them by default")
    chosen = parser.parse_args(arguments).parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()}; the parts are {', '.join(PARTS)}")
    figures: dict[str, float] = {}
    for part in chosen:
        for name, value, unit in PARTS[part]():
            print(f"{name:<48}{value:>12.2f} {unit}", flush=True)
            figures[f"{name}, {unit}"] = round(value, 3)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":  # a process that multiprocessing starts imports this module too
    sys.exit(main(sys.argv[1:]))
