"""The argument parser of all commands."""

import argparse
import dataclasses
from typing import Any, Protocol

from models_core.cli.commands import (
    catalogue,
    distil,
    dpo,
    evaluate,
    gguf,
    harness,
    import_model,
    judge,
    live,
    measure,
    plan,
    ppo,
    pretrain,
    push,
    reward,
    sample,
    score,
    sft,
)
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, Settings


class Command(Protocol):
    """A module of models_core.cli.commands."""

    @property
    def HELP(self) -> str: ...  # noqa: N802

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]: ...


COMMANDS: dict[str, Command] = {
    "pretrain": pretrain,
    "sft": sft,
    "reward": reward,
    "ppo": ppo,
    "dpo": dpo,
    "distil": distil,
    "sample": sample,
    "score": score,
    "evaluate": evaluate,
    "harness": harness,
    "judge": judge,
    "import": import_model,
    "gguf": gguf,
    "push": push,
    "catalogue": catalogue,
    "live": live,
    "measure": measure,
    "plan": plan,
}


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags. Exits with status 2 on a mistake, as argparse does."""
    root = argparse.ArgumentParser(
        prog="python -m models_core", description="Train, sample from and evaluate language models."
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        parser = commands.add_parser(
            name,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=_settings_help(STAGES[name]) if name in STAGES else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(parser)
    return root


def _settings_help(stage: type[Settings]) -> str:
    lines = [f"  {field.name} = {field.default}\n      {field.metadata['help']}" for field in dataclasses.fields(stage)]
    return "settings (--set KEY=VALUE) and their defaults:\n" + "\n".join(lines)
