"""The files and folders that a command is given, checked before anything is read: nothing is written over its input.

Standard library only.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models_core.contract.errors import BadInput

STREAM = Path("-")
INPUTS = ("data", "eval", "demonstrations", "samples", "templates", "ptx", "replay", "ewc", "tokenizer")
MODELS = ("model", "reference", "reward", "against", "previous", "teacher")
RUN_FILES = ("run.json", "result.json", "metrics.jsonl", "samples.jsonl", "baseline.jsonl", "progress.json")
RUN_FOLDERS = ("data", "model", "adapter", "lora", "checkpoints", "tokenizer")


def check(arguments: argparse.Namespace, *, trains: bool) -> None:
    """Raise BadInput where OUT, or what is written beside it, is an input or a part of one, or cannot be written."""
    out: Path = arguments.out
    if out == STREAM:
        return
    try:
        _check_apart(arguments, out, trains=trains)
        _check_writable(out, trains=trains)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written ({error.strerror}).") from None


def _check_apart(arguments: argparse.Namespace, out: Path, *, trains: bool) -> None:
    for flag, path in _inputs(arguments):
        if any(_is_same(path, written) for written in _written(out, trains=trains)):
            raise BadInput(f"--out {out} would be written over {flag} {path}: give another --out.")
        if trains and not arguments.resume and _is_inside(path, out):
            raise BadInput(f"--out {out} is the folder that holds {flag} {path}: give another --out.")
    for flag, folder in _models(arguments):
        if not trains and any(_belongs_to(written, folder) for written in _written(out, trains=False)):
            raise BadInput(f"--out {out} would be written over a file of {flag} {folder}: give another --out.")
        if trains and (_is_same(folder, out) or (_is_inside(folder, out) and not arguments.resume)):
            raise BadInput(f"--out {out} holds {flag} {folder}, which is read: give another --out.")


def _inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    for name in INPUTS:
        given = getattr(arguments, name, None)
        for item in given if isinstance(given, list) else [given]:
            if isinstance(item, str | Path) and Path(item) != STREAM and Path(item).exists():
                yield f"--{name}", Path(item)


def _models(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    for name in MODELS:
        given = getattr(arguments, name, None)
        for item in [given, *given.split(",")] if isinstance(given, str) else ():
            if item and Path(item).exists():
                yield f"--{name}", Path(item)


def _written(out: Path, *, trains: bool) -> list[Path]:
    """What a command writes: OUT, what of it is not finished yet, and a report's tables."""
    return [out] if trains else [out, out.with_name(f"{out.name}.partial"), out.with_suffix(".md")]


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by whatever links."""
    if not other.exists():
        return one.resolve() == other.resolve()
    return one.samefile(other)


def _is_inside(path: Path, folder: Path) -> bool:
    return folder.is_dir() and folder.resolve() in path.resolve().parents


def _belongs_to(path: Path, model: Path) -> bool:
    """Whether a file that exists is one of a model's own: of its folder, or of the run that made it."""
    if not path.exists() or not model.is_dir():
        return False
    if (model / "config.json").exists():
        return _is_inside(path, model)
    parts = path.resolve().relative_to(model.resolve()).parts if _is_inside(path, model) else ()
    return bool(parts) and (parts[0] in RUN_FOLDERS or parts in [(name,) for name in RUN_FILES])


def _check_writable(out: Path, *, trains: bool) -> None:
    """Raise BadInput where OUT could not be written in the end: a folder, no folder, a full or a read-only one.

    Raises OSError for what the system finds.
    """
    if out.is_dir() and not trains:
        raise BadInput(f"--out {out} is a folder, and a file is written: name the file.")
    if out.exists() and not out.is_dir() and not out.is_file():
        raise BadInput(f"--out {out} is no regular file, so it cannot be replaced.")
    if out.is_file() and not trains and not os.access(out, os.W_OK):
        raise BadInput(f"--out {out} cannot be written (it is read-only).")
    where = out if trains and out.is_dir() else out.parent
    while not where.exists() and where != where.parent:
        where = where.parent
    with tempfile.TemporaryFile(dir=where):
        pass
