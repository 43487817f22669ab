"""`catalogue fetch`: download a base model."""

import argparse
import os
from typing import Any

from models_core.contract import catalogue
from models_core.contract.runs.stopping import StopSignal

HELP = "download a base model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    fetch = actions.add_parser("fetch", help="download a base model that is not in the data folder yet")
    fetch.add_argument("name", choices=list(catalogue.MODELS))


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    os.umask(0o077)  # the data folder is readable by its owner alone
    return {"folder": str(catalogue.resolve(arguments.name))}
