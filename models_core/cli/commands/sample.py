"""`sample`: K responses to every prompt."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "generate K responses to every prompt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="model or server address")
    flags.add_data(parser)
    flags.add_run(parser, out="JSON lines")
    parser.add_argument(
        "--samples",
        action=flags.SingleUse,
        type=flags.whole_number(1, 1024),
        default=1,
        metavar="K",
        help="responses per prompt",
    )
    parser.add_argument("--reward", action=flags.SingleUse, metavar="RM", help="reward model that scores responses")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments)
    from models_core.commands import sample

    return inputs.run_command(
        sample.run,
        settings,
        arguments,
        stop,
        samples=arguments.samples,
        reward=arguments.reward,
        resume=arguments.resume,
    )
