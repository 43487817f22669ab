"""`import`: check a model of somebody else and copy it into a run folder."""

import argparse
from pathlib import Path
from typing import Any

from models_core.cli import flags, inputs
from models_core.commands import input_files
from models_core.contract.runs.stopping import StopSignal

HELP = "check a model folder or Hub id and copy it into a run folder"
KINDS = ("policy", "sft", "pretrained", "reward")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    parser.add_argument("--kind", action=flags.SingleUse, required=True, choices=KINDS, help="what the model is")
    parser.add_argument("--out", action=flags.SingleUse, required=True, type=Path, help="output: run folder")
    flags.add_resume(parser)
    flags.add_device(parser, once=True)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    input_files.check(arguments, trains=True)
    from models_core.commands.registry import model_import

    return model_import.run(
        model=arguments.model,
        kind=arguments.kind,
        out=arguments.out,
        device=inputs.select_device(arguments.device),
        stop=stop,
    )
