"""`distil`: a student that learns from a teacher."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "train a student on a teacher's responses or distributions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="student")
    parser.add_argument(
        "--teacher", action=flags.SingleUse, required=True, metavar="T", help="the model that the student learns from"
    )
    flags.add_data(parser)
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import distil

    return inputs.run_command(
        distil.train,
        settings,
        arguments,
        stop,
        teacher=arguments.teacher,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
