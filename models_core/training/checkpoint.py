"""Checkpoints that are whole or absent: tensors in safetensors, everything else in readable JSON, no pickle.

checkpoints/step-00000040/{model,optimizer,...}.safetensors    named groups of tensors
checkpoints/step-00000040/rng.safetensors                      torch's random state
checkpoints/step-00000040/state.json                           step, cursor, random states, sizes of the files
checkpoints/best-00000030/...                                  the same, of the best weights measured so far
"""

import json
import os
import random
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

STATE = "state.json"
STEP, BEST = "step", "best"
"""Kinds of checkpoints: those that a run goes on from, and the weights that measured best."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint on disk. `state` is what the recipe gave to `save`."""

    folder: Path
    step: int
    state: dict[str, Any]
    random_states: dict[str, Any]

    def tensors(self, group: str) -> dict[str, Tensor]:
        """One group of tensors as it was saved."""
        return load_file(self.folder / f"{group}.safetensors")

    def restore_rng(self) -> None:
        """Put Python's, numpy's and torch's global generators back to where they were."""
        version, internal, gauss = self.random_states["python"]
        random.setstate((version, tuple(internal), gauss))
        kind, keys, *rest = self.random_states["numpy"]
        numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), *rest))
        generators = self.tensors("rng")
        torch.set_rng_state(generators["torch"])
        if torch.cuda.is_available() and "cuda.0" in generators:
            torch.cuda.set_rng_state_all([generators[name] for name in sorted(generators) if name.startswith("cuda")])


def save(
    folder: Path,
    *,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 1,
    kind: str = STEP,
) -> Path:
    """Write a checkpoint and drop all but the `keep` newest of its kind; 0 keeps every one.

    `tensors` are groups ("model", "optimizer") of named tensors; `state` is anything JSON holds: scheduler, cursor in
    the data, counts. Every file is synced before the folder gets its name, so a crash leaves the old ones.
    """
    target = folder / f"{kind}-{step:08d}"
    partial = folder / f".partial-{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for group, named in tensors.items():
        save_file(
            {key: value.detach().contiguous().cpu() for key, value in named.items()}, partial / f"{group}.safetensors"
        )
    save_file(_torch_generators(), partial / "rng.safetensors")
    sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
    document = {"step": step, "state": state, "random": _random_states(), "sizes": sizes}
    (partial / STATE).write_text(json.dumps(document), encoding="utf-8")
    for path in [*partial.iterdir(), partial]:
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    _sync(folder)
    for old in _newest_first(folder, kind)[keep:] if keep else ():
        shutil.rmtree(old, ignore_errors=True)
    return target


def all_whole(folder: Path, *, kind: str = STEP) -> list[Checkpoint]:
    """The whole checkpoints of a kind, newest first."""
    return [found for path in _newest_first(folder, kind) if (found := _read(path)) is not None]


def drop(folder: Path, *, kind: str, but: Collection[int]) -> None:
    """Remove the checkpoints of a kind, except those of the steps named."""
    for path in _newest_first(folder, kind):
        if path.name not in {f"{kind}-{step:08d}" for step in but}:
            shutil.rmtree(path, ignore_errors=True)


def latest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, or None. A torn one (a file missing, short or unreadable) is passed over."""
    return next((found for path in _newest_first(folder, STEP) if (found := _read(path)) is not None), None)


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint in a folder, or None where it is torn or absent."""
    try:
        document = json.loads((path / STATE).read_text(encoding="utf-8"))
        whole = all((path / name).stat().st_size == size for name, size in document["sizes"].items())
        found = Checkpoint(
            folder=path, step=document["step"], state=document["state"], random_states=document["random"]
        )
        found.tensors("rng")
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    return found if whole else None


def _newest_first(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}-*"), reverse=True) if folder.is_dir() else []


def _random_states() -> dict[str, Any]:
    kind, keys, *rest = cast(tuple[Any, ...], numpy.random.get_state())
    return {"python": random.getstate(), "numpy": [kind, keys.tolist(), *rest]}


def _torch_generators() -> dict[str, Tensor]:
    generators = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators |= {f"cuda.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return generators


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
