"""`judge`: rankings of responses by a chat model or a reward model."""

import argparse
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.reports import reward_names
from models_core.contract.runs.stopping import StopSignal

HELP = "rank the responses of every row by a chat model or a reward model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser, role="reward model or server address")
    flags.add_data(parser)
    flags.add_run(parser, out="JSON lines")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = inputs.check(arguments)
    from models_core.commands import judge

    if reward_names.is_address(arguments.model):  # without torch, which takes seconds to load
        return judge.run(
            settings,
            model=arguments.model,
            data=arguments.data,
            out=arguments.out,
            stop=stop,
            resume=arguments.resume,
        )
    return inputs.run_command(judge.run, settings, arguments, stop, resume=arguments.resume)
