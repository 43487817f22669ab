"""`live`: responses while somebody waits, from a model that stays loaded."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.runs.stopping import StopSignal

HELP = "respond to prompts from standard input with a model that stays loaded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--idle",
        type=flags.whole_number(1, 86_400),
        default=900,
        metavar="SECONDS",
        help="seconds without a request after which the process ends",
    )
    flags.add_device(parser)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    from models_core.commands import live

    device = inputs.select_device(arguments.device)
    return live.serve(calls=0, tell=live.tell_line, device=device, stop=stop, idle=arguments.idle)
