"""`pretrain`: a language model from plain text."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "train a language model on plain text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, required=False, role="base model to continue; without it a new model is created")
    flags.add_data(parser, formats="text (.txt or .jsonl)")
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)
    parser.add_argument(
        "--tokenizer",
        action=flags.SingleUse,
        metavar="FOLDER",
        help="tokenizer of a new model; without it one is trained",
    )


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import pretrain

    return inputs.run_command(
        pretrain.train,
        settings,
        arguments,
        stop,
        tokenizer=arguments.tokenizer,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
