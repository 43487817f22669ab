"""`sft`: supervised fine-tuning."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "fine-tune a language model on demonstrations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    flags.add_data(parser, repeatable=True)
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)
    parser.add_argument(
        "--templates",
        action="append",
        default=[],
        metavar="T",
        help="instruction templates: a JSON file, a built-in set or none; once, or once per --data",
    )
    flags.add_file(parser, "--replay", "earlier demonstrations for experience replay")
    flags.add_file(parser, "--ewc", "demonstrations of an earlier task for elastic weight consolidation")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import sft

    return inputs.run_command(
        sft.train,
        settings,
        arguments,
        stop,
        templates=arguments.templates,
        replay=arguments.replay,
        ewc=arguments.ewc,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
