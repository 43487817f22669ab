"""`evaluate`: a report on a model."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "measure perplexity, labels and responses, reward accuracy, or a win rate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    flags.add_data(parser, formats="JSON lines, or text (.txt)")
    flags.add_run(parser, out="report (.json)")
    parser.add_argument(
        "--templates",
        action=flags.SingleUse,
        metavar="T",
        help="instruction templates of the rows: a JSON file or a built-in set",
    )
    parser.add_argument("--against", action=flags.SingleUse, metavar="M2", help="other model of a win rate")
    parser.add_argument("--reward", action=flags.SingleUse, metavar="RM", help="reward model that decides the win rate")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments)
    from models_core.commands import evaluate

    report = inputs.run_command(
        evaluate.run,
        settings,
        arguments,
        stop,
        against=arguments.against,
        reward=arguments.reward,
        templates=arguments.templates,
    )
    print(evaluate.text(report), flush=True)
    return evaluate.summary(report)
