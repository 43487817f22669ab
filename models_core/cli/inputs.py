"""What a command works with: settings, device and input files, checked before anything is loaded."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.commands import input_files
from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, parse

if TYPE_CHECKING:
    import torch

FILE_FLAGS = ("data", "eval", "demonstrations", "ptx", "replay", "ewc")
"""Flags that name files of rows or text."""


def set_values(arguments: argparse.Namespace) -> dict[str, str]:
    """Texts of --set by the names of settings. Raises BadInput."""
    values: dict[str, str] = {}
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"--set takes KEY=VALUE, not {item!r}.")
        if name.strip() in values:
            raise BadInput(f"The setting {name.strip()} is given twice: which of the two is meant?")
        values[name.strip()] = value
    return values


def parse_settings(arguments: argparse.Namespace) -> Any:
    """The stage's settings from --set and --seed. Raises BadInput."""
    values = set_values(arguments)
    if arguments.seed is not None and "seed" in values:
        raise BadInput("The setting seed is given twice, by --seed and by --set: which of the two is meant?")
    if arguments.seed is not None:
        values["seed"] = arguments.seed
    return parse(STAGES[arguments.command], values)


def select_device(name: str) -> "torch.device":
    """The device of --device. Raises BadInput for a GPU that is not there."""
    import torch

    from models_core.training import memory

    memory.limit_primitive_cache()
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no GPU that torch can use.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def data_files(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """(flag, path) of the input files, without standard input."""
    for name in FILE_FLAGS:
        given = getattr(arguments, name, None)
        for path in given if isinstance(given, list) else [given]:
            is_stream = arguments.command == "score" and path == Path(row_parser.STANDARD_INPUT)
            if path is not None and not is_stream:
                yield name, path


def check(arguments: argparse.Namespace, *, trains: bool = False) -> Any:
    """The settings, once they and all paths are known to be usable; torch is not loaded yet. Raises BadInput."""
    settings = parse_settings(arguments)
    input_files.check(arguments, trains=trains)
    for name, path in data_files(arguments):
        if not path.is_file():
            raise BadInput(f"There is no file {path} (--{name}).")
    return settings


def run_command(
    command: Callable[..., dict[str, Any]],
    settings: Any,
    arguments: argparse.Namespace,
    stop: StopSignal,
    **given: Any,
) -> dict[str, Any]:
    """Call a recipe's train() or a command's run() with the arguments that all have in common and those `given`."""
    with locate_refused_row(arguments):
        return command(
            settings,
            model=arguments.model,
            data=arguments.data,
            out=arguments.out,
            device=select_device(arguments.device),
            stop=stop,
            **given,
        )


@contextmanager
def locate_refused_row(arguments: argparse.Namespace) -> Iterator[None]:
    """Add file, line and id of the row to the error of a chat that a chat template refuses."""
    try:
        yield
    except BadInput as error:
        raise _with_row(error, arguments) from None


def _with_row(error: BadInput, arguments: argparse.Namespace) -> BadInput:
    from models_core.modeling import chat

    if not isinstance(error, chat.TemplateRefused):
        return error
    for _, path in data_files(arguments):
        if path.suffix != ".txt" and (found := row_parser.find_chat(path, error.messages)) is not None:
            line, row = found
            return BadInput(f"{path.name}, line {line}: the chat template refuses the row {row!r}: {error.reason}")
    return error
