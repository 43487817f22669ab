"""`reward`: a reward model from rankings."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "train a reward model on rankings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    flags.add_data(parser)
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)
    flags.add_file(parser, "--demonstrations", "responses whose mean score becomes 0")
    flags.add_file(parser, "--samples", "responses whose scores get the standard deviation 1")
    parser.add_argument(
        "--previous",
        action=flags.SingleUse,
        metavar="RM",
        help="previous reward model, evaluated on the rows new to it",
    )


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import reward

    return inputs.run_command(
        reward.train,
        settings,
        arguments,
        stop,
        demonstrations=arguments.demonstrations,
        samples=arguments.samples,
        previous=arguments.previous,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
