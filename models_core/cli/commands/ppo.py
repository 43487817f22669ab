"""`ppo`: reinforcement learning against a reward."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "train a policy against a reward model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="initial policy")
    flags.add_data(parser)
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)
    parser.add_argument(
        "--reward",
        action=flags.SingleUse,
        required=True,
        metavar="RM",
        help="one reward model or several, comma-separated; package.module:function; or the address of an LLM judge, "
        "http://host/v1",
    )
    flags.add_reference(parser)
    flags.add_file(parser, "--ptx", "pretraining text (.txt or .jsonl) for PPO-ptx")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import ppo

    return inputs.run_command(
        ppo.train,
        settings,
        arguments,
        stop,
        reward=arguments.reward,
        reference=arguments.reference,
        ptx=arguments.ptx,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
