"""`measure`: the seconds and the memory of a training's step, before it is started."""

import argparse
import dataclasses
import math
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract import atomic_write
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, TrainingSettings

HELP = "measure a few steps of a training: seconds a step and peak memory"
MEASURED = [stage for stage, settings in STAGES.items() if issubclass(settings, TrainingSettings)]
MEASURED_STEPS = 4
OTHER_ROWS = 64
"""Rows of files that are measured on or calibrated with, which come before or after the steps."""
FEWEST_ROWS, MOST_ROWS = 64, 20_000
ROWS_TO_CHOOSE_FROM = 4
FEWEST_BYTES, MOST_BYTES = 8 * 2**20, 64 * 2**20
"""Of plain text. A tokenizer that is trained on it has the size that it would have."""
BYTES_A_TOKEN = 8
WITHOUT_STEPS = {"save_every": 0, "eval_every": 0, "patience": 0}
"""Settings of what comes between steps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        action=flags.SingleUse,
        type=flags.whole_number(1, 3600),
        default=30,
        metavar="N",
        help="the most that the steps after the first may take together (default: 30); the first has three times that",
    )
    parser.add_argument("stage", choices=MEASURED, help="the command of the training")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="its flags; --out is the file for the result, and the folder FILE.measuring beside it is used meanwhile",
    )


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    from models_core.cli import parser

    given = parser.build_parser().parse_args([arguments.stage, *arguments.flags])
    settings: TrainingSettings = inputs.parse_settings(given)
    if settings.processes > 1:
        raise BadInput("A measurement computes in one process: set processes=1.")
    stop.check()
    out: Path = given.out
    if out.is_dir():
        raise BadInput(f"--out {out} is a folder; the result of a measurement is a file.")
    folder = out.with_name(f"{out.name}.measuring")
    _remove_leftover(folder)
    try:
        try:
            (folder / "data").mkdir(parents=True)
            rows = _sample_files(given, settings, folder=folder / "data")
        except OSError as error:
            raise BadInput(f"The measurement can't be made beside {out} ({error.strerror}).") from None
        changes = _changes(settings, rows)
        given.set = [item for item in given.set if item.partition("=")[0].strip() not in changes]
        given.set += [f"{name}={value}" for name, value in changes.items()]
        given.out = folder / "run"

        from models_core.training.step_meter import StepMeter

        meter = StepMeter(seconds=arguments.seconds, steps=MEASURED_STEPS)
        result = meter.measure(lambda signal: parser.COMMANDS[arguments.stage].run(given, signal)).as_json()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    atomic_write.write_json(out, result)
    return result


def _remove_leftover(folder: Path) -> None:
    """Remove what a killed measurement left. Raises BadInput for anything else of that name."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or {path.name for path in folder.iterdir()} - {"data", "run"}:
        raise BadInput(f"{folder} is in the way, and it is not a measurement's: move it, or take another --out.")
    shutil.rmtree(folder)


def _changes(settings: TrainingSettings, rows: int) -> dict[str, int]:
    """Settings that make no difference to a step: nothing between steps, and as many epochs as the steps need."""
    names = {field.name for field in dataclasses.fields(settings)}
    changes = {name: value for name, value in WITHOUT_STEPS.items() if name in names}
    batch_size, epochs = getattr(settings, "batch_size", 1), getattr(settings, "epochs", None)
    if isinstance(epochs, int) and rows:
        # Some of the rows may be held out.
        needed = math.ceil(2 * MEASURED_STEPS * batch_size / rows)
        changes["epochs"] = min(1000, max(epochs, needed))
    return changes


def _sample_files(given: argparse.Namespace, settings: TrainingSettings, *, folder: Path) -> int:
    """Put samples in the place of the files of rows and text; returns how many rows there are to train on."""
    batch_size, length = getattr(settings, "batch_size", 1), getattr(settings, "max_length", 1024)
    needed_rows = min(MOST_ROWS, max(FEWEST_ROWS, 2 * MEASURED_STEPS * batch_size))
    needed_bytes = min(MOST_BYTES, max(FEWEST_BYTES, MEASURED_STEPS * batch_size * length * BYTES_A_TOKEN))
    trained_on = 0
    for flag in (*inputs.FILE_FLAGS, "samples"):
        found = getattr(given, flag, None)
        paths = found if isinstance(found, list) else [found]
        sampled = []
        for number, path in enumerate(paths):
            if path is None or not Path(path).is_file():
                sampled.append(path)  # refused, or left out, as the command does
                continue
            target = folder / f"{flag}-{number}" / Path(path).name
            target.parent.mkdir()
            if path.suffix == ".txt" or flag == "ptx" or given.command == "pretrain":
                _write_first_part(path, target, size=needed_bytes)
            else:
                rows = _write_rows(path, target, count=needed_rows if flag == "data" else OTHER_ROWS)
                trained_on += rows if flag == "data" else 0
            sampled.append(target)
        if found is not None:
            setattr(given, flag, sampled if isinstance(found, list) else sampled[0])
    return trained_on


def _write_rows(path: Path, target: Path, *, count: int) -> int:
    """`count` of the first lines, drawn at random from some times as many, in their order."""
    lines = list(_first_lines(path, ROWS_TO_CHOOSE_FROM * count))
    chosen = sorted(random.Random(0).sample(range(len(lines)), min(count, len(lines))))
    target.write_bytes(b"".join(lines[place] for place in chosen))
    return len(chosen)


def _first_lines(path: Path, count: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number == count:
                return
            if line.strip():
                yield line if line.endswith(b"\n") else line + b"\n"


def _write_first_part(path: Path, target: Path, *, size: int) -> None:
    """The text's first bytes, up to the end of a line."""
    with path.open("rb") as source, target.open("wb") as file:
        file.write(source.read(size))
        file.write(source.readline())
