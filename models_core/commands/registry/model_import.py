"""Import a model: a folder or a Hub id becomes OUT/model, once it is known to be usable as what it is said to be.

Checked: weights in safetensors, complete and finite; a family that Hone works with; a tokenizer that fits the model;
the head of a reward model, the chat template of a model that responds; finite outputs for a short prompt. Copied are
configuration, weights and tokenizer, and nothing else of the folder; a file of the copy is read back by its SHA-256.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from models_core.contract import catalogue
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows.records import Message
from models_core.contract.runs.run_folder import RunFolder, file_sha256, folder_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import chat, loading, model_files
from models_core.modeling.adapters import storage
from models_core.training import precision

RESPONDING = ("policy", "sft")
"""Kinds that respond to chats, so that they need a chat template."""
PROBE = [Message(role="user", content="Name a colour.")]
BLOCK = 1 << 22


def run(*, model: str, kind: str, out: Path, device: torch.device, stop: StopSignal) -> dict[str, Any]:
    """Check and copy a model; returns its figures. Raises BadInput, Stopped."""
    source = Path(loading.locate(model))
    parameters = check(model, kind=kind, device=device)
    _copy(source, out, stop=stop)
    origin = "hub" if not Path(model).exists() else "folder"
    metrics = {"source": model, "origin": origin, "revision": _revision(source, origin), "parameters": parameters}
    RunFolder(out).finish(status="succeeded", metrics=metrics)
    return metrics | {"sha256": folder_sha256(out / "model")}


def check(model: str, *, kind: str, device: torch.device) -> int:
    """The number of a model's parameters, once it has passed every check. Raises BadInput."""
    is_reward = loading.is_reward_model(model)
    if is_reward != (kind == "reward"):
        found, wanted = ("a reward model", "a language model") if is_reward else ("a language model", "a reward model")
        raise BadInput(f"{model} is {found}, and {kind} says {wanted}: state the other kind.")
    tokenizer = loading.load_tokenizer(model)
    if kind in RESPONDING:
        if not tokenizer.chat_template:
            raise BadInput(
                f"The tokenizer of {model} has no chat template, so nobody knows how it was trained to be asked: "
                "import it as pretrained, and fine-tune it."
            )
        chat.check_template(tokenizer, name=model)
    dtype = precision.dtype_of(precision.resolve("auto", device=device))
    load = loading.load_reward_model if is_reward else loading.load_policy
    network: Any = load(model, device=device, dtype=dtype)
    ids = (
        chat.encode_prompt(tokenizer, PROBE, max_tokens=64)
        if tokenizer.chat_template
        else tokenizer(PROBE[0]["content"])["input_ids"]
    )
    body = getattr(network, network.base_model_prefix)  # the head of a reward model is in another precision
    with torch.inference_mode():
        states = body(input_ids=torch.tensor([ids], device=device)).last_hidden_state
    if not states.isfinite().all():
        raise BadInput(f"{model} cannot be used: its outputs for a short prompt are no finite numbers.")
    return sum(weights.numel() for weights in network.parameters())


def _copy(source: Path, out: Path, *, stop: StopSignal) -> None:
    """OUT/model, and OUT/adapter where the model keeps weights of its own there. Raises BadInput, Stopped."""
    parts = [(source, "model")]
    place = json.loads((source / model_files.CONFIG).read_text(encoding="utf-8")).get(storage.KEY)
    if place is not None:
        if place["folder"] != "../adapter":
            raise BadInput(
                f"The adapter of {source} is in {place['folder']}; rename the folders to model/ and adapter/."
            )
        parts.append((storage.folder_of(source), "adapter"))
    files = [(path, name) for folder, name in parts for path in _files(folder)]
    size = sum(path.stat().st_size for path, _name in files)
    out.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(out).free:
        raise BadInput(f"The model {source} has {size:,} bytes, and {shutil.disk_usage(out).free:,} are free here.")
    for _folder, name in parts:
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir()
    for path, name in files:
        _copy_file(path, out / name / path.name, stop=stop)


def _files(folder: Path) -> Iterator[Path]:
    """Configuration, weights and tokenizer. A link that leads out of the folder is left out, but the Hub's cache's."""
    blobs = folder.parent.parent / "blobs"
    for pattern in catalogue.HUB_FILES:
        for path in sorted(folder.glob(pattern)):
            place = path.resolve()
            if path.is_file() and any(place.is_relative_to(root.resolve()) for root in (folder, blobs)):
                yield path


def _copy_file(path: Path, target: Path, *, stop: StopSignal) -> None:
    with path.open("rb") as read, target.open("wb") as written:
        while block := read.read(BLOCK):
            if stop.requested:
                raise Stopped("The import was stopped; it begins again when it is resumed.")
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    if file_sha256(path) != file_sha256(target):
        raise BadInput(f"{path} changed while it was copied.")


def _revision(source: Path, origin: str) -> str:
    """The commit of a Hub repository, which its cache names the folder by; empty for a folder."""
    return source.name if origin == "hub" and source.parent.name == "snapshots" else ""
