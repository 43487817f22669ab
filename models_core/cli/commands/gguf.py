"""`gguf`: a language model as one file for llama.cpp."""

import argparse
from pathlib import Path
from typing import Any

from models_core.cli import flags
from models_core.commands import input_files
from models_core.contract.runs.stopping import StopSignal

HELP = "write a language model as one GGUF file for llama.cpp"
TYPES = ("f16", "q8_0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    parser.add_argument("--type", action=flags.SingleUse, choices=TYPES, default="q8_0", help="of the weights")
    parser.add_argument("--name", action=flags.SingleUse, default="", help="name of the model in the file")
    parser.add_argument("--out", action=flags.SingleUse, required=True, type=Path, help="output: the file")
    flags.add_resume(parser)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    input_files.check(arguments, trains=False)
    from models_core.commands.registry import gguf_file

    return gguf_file.run(
        model=arguments.model,
        kind=arguments.type,
        out=arguments.out,
        name=arguments.name or Path(arguments.model).name,
        stop=stop,
    )
