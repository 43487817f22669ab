"""`push`: a model folder to a repository of a Hub."""

import argparse
from pathlib import Path
from typing import Any

from models_core.cli import flags
from models_core.commands import input_files
from models_core.contract.runs.stopping import StopSignal

HELP = "push a model to a repository of a Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    parser.add_argument("--repository", action=flags.SingleUse, required=True, metavar="OWNER/NAME")
    parser.add_argument(
        "--token-variable", action=flags.SingleUse, default="HF_TOKEN", help="environment variable with the token"
    )
    parser.add_argument("--private", action="store_true", help="of a repository that is made now")
    parser.add_argument(
        "--adapter-of",
        action=flags.SingleUse,
        default="",
        metavar="OWNER/NAME",
        help="push the LoRA adapter alone, as one of this base model on the Hub",
    )
    flags.add_file(parser, "--card", "Markdown file for the repository's README.md")
    parser.add_argument("--out", action=flags.SingleUse, required=True, type=Path, help="output: JSON with the commit")
    flags.add_resume(parser)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    input_files.check(arguments, trains=False)
    from models_core.commands.registry import hub_push

    return hub_push.run(
        model=arguments.model,
        repository=arguments.repository,
        token_variable=arguments.token_variable,
        private=arguments.private,
        card=arguments.card,
        adapter_of=arguments.adapter_of,
        out=arguments.out,
        stop=stop,
    )
