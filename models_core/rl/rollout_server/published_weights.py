"""The policy's weights in a folder that the rollout server reads: a LoRA adapter as PEFT's folder, or whole weights.

RUN/rollout_weights/NAME/    one folder for each version, the newest two; the end of the run removes them

An adapter's name ends with the digest of its matrices, so a server that has a NAME loaded has these very weights, also
where a resumed run publishes them again.
"""

import copy
import hashlib
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig
from models_core.modeling.adapters import merging, peft_folder
from models_core.modeling.adapters.layers import trunk
from models_core.rl.actor_critic import HEAD_PREFIX, ActorCritic

FOLDER = "rollout_weights"
ADAPTER_METHODS = ("lora", "qlora")
WHOLE_METHODS = ("full", "last_n")
KEPT = 2
"""Folders that stay: of the weights just published, and of those that a server may still sample from."""


class PublishedWeights(NamedTuple):
    """`name` of the version, its `folder` as the server sees it, and whether it is an adapter."""

    name: str
    folder: str
    is_adapter: bool


def check_method(settings: PPOConfig) -> None:
    """Raise BadInput where a server cannot be given what the method trains."""
    if settings.rollout_server and settings.method not in (*ADAPTER_METHODS, *WHOLE_METHODS):
        raise BadInput(
            f"rollout_server cannot load what method={settings.method} trains: take method=lora, qlora, full or "
            "last_n, or leave rollout_server empty."
        )


class WeightsFolder:
    """Publishes the weights of one run, from its first process. `seen_as`: RUN there, "" where the path is the same."""

    def __init__(self, run: Path, *, seen_as: str) -> None:
        self.root = run.resolve() / FOLDER
        self.seen_as = PurePosixPath(seen_as) / FOLDER if seen_as else self.root
        self.prefix = "hone-" + (re.sub(r"[^A-Za-z0-9]+", "-", run.resolve().name).strip("-") or "run")[:40]

    def publish(self, actor_critic: ActorCritic, *, step: int) -> PublishedWeights:
        """Write the weights after `step` iterations. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        is_adapter = actor_critic.settings.method in ADAPTER_METHODS
        name = (
            self._publish_adapter(actor_critic.policy)
            if is_adapter
            else self._publish_whole(actor_critic.policy, actor_critic.tokenizer, step=step)
        )
        self._remove_old(name)
        return PublishedWeights(name, str(self.seen_as / name), is_adapter)

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def _publish_adapter(self, policy: Any) -> str:
        tensors = peft_folder.matrices_of(merging.merging_layers(policy))
        name = f"{self.prefix}-{digest(tensors)}"
        if not (self.root / name).exists():
            (config,) = trunk(policy).peft_config.values()
            peft_folder.write(self.root / name, copy.copy(config), tensors)
        return name

    def _publish_whole(self, policy: Any, tokenizer: Any, *, step: int) -> str:
        name = f"{self.prefix}-step-{step}"
        partial = self.root / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        tensors = {key: value for key, value in policy.state_dict().items() if not key.startswith(HEAD_PREFIX)}
        policy.save_pretrained(partial, state_dict=tensors)
        tokenizer.save_pretrained(partial)
        shutil.rmtree(self.root / name, ignore_errors=True)
        partial.rename(self.root / name)
        return name

    def _remove_old(self, newest: str) -> None:
        (self.root / newest).touch()
        folders = sorted(self.root.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for folder in folders[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


def digest(tensors: dict[str, Tensor]) -> str:
    """Twelve hexadecimal digits that tell one adapter from another."""
    return hashlib.sha256(safetensors.torch.save(dict(sorted(tensors.items())))).hexdigest()[:12]
