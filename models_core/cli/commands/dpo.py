"""`dpo`: direct preference optimisation."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "train a policy on rankings, without a reward model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="initial policy")
    flags.add_data(parser)
    flags.add_run(parser, out="run folder")
    flags.add_evaluation(parser)
    flags.add_reference(parser)
    flags.add_file(parser, "--demonstrations", "preferred responses for demonstration_pairs")
    flags.add_file(parser, "--samples", "dispreferred responses for demonstration_pairs")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments, trains=True)
    from models_core.recipes import dpo

    return inputs.run_command(
        dpo.train,
        settings,
        arguments,
        stop,
        reference=arguments.reference,
        demonstrations=arguments.demonstrations,
        samples=arguments.samples,
        evaluation=arguments.eval,
        resume=arguments.resume,
    )
