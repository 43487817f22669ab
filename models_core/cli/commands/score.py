"""`score`: scores of responses."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "score responses with a reward model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="reward model")
    flags.add_data(parser, formats="JSON lines, or - for standard input")
    flags.add_run(parser, out="JSON lines, or - for standard output")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments)
    from models_core.commands import score

    return inputs.run_command(score.run, settings, arguments, stop, resume=arguments.resume)
