"""Frozen models that wait in host memory: their weights are on the device only while they compute.

A model is brought whole, once for all of its passes: a rollout iteration has many forward passes of the reference, and
to bring its layers one by one for each would take longer than the passes themselves. Nothing learns meanwhile, so that
there is room where gradients and activations are at other times. The weights are copied as they are, and the host's own
are put back afterwards: not a bit changes. A model whose device is the processor stays where it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from models_core.contract.errors import BadInput
from models_core.contract.runs import processes
from models_core.contract.settings import TrainingSettings
from models_core.modeling.devices import tensors_of

HOST = "host_weights"
"""Attribute of a model that waits in host memory."""


class HostWeights:
    """The weights and buffers of one model, and how to bring them to a device."""

    def __init__(self, model: nn.Module, *, device: torch.device) -> None:
        """The model must be on the host. Its weights become page-locked there, which a GPU copies faster."""
        self.device = device
        self.tensors = tensors_of(model)
        if device.type == "cuda":
            for tensor in self.tensors:
                tensor.data = tensor.data.pin_memory()
        self._users = 0

    @contextmanager
    def on_device(self) -> Iterator[None]:
        """Within it the model is on the device; contexts may lie in each other."""
        kept = [tensor.data for tensor in self.tensors] if not self._users else []
        self._users += 1
        try:
            for tensor in self.tensors[: len(kept)]:
                tensor.data = copied(tensor.data, self.device)
            yield
        finally:
            self._users -= 1
            for tensor, own in zip(self.tensors, kept, strict=False):
                tensor.data = own


def is_apart(device: torch.device) -> bool:
    """Whether a device has a memory of its own."""
    return device.type != "cpu"


def copied(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)


def host_of(device: torch.device, *, is_offloaded: bool) -> torch.device:
    """Where a model is loaded that will wait in host memory, or not."""
    return torch.device("cpu") if is_offloaded else device


def keep_on_host(model: Any, *, device: torch.device) -> None:
    """Have a frozen model, loaded to the host, wait there; nothing to do where it computes there."""
    if is_apart(device):
        setattr(model, HOST, HostWeights(model, device=device))


def on_device(model: Any) -> Any:
    """A context in which a model is where it computes: nothing to do for one that does not wait in host memory."""
    found: HostWeights | None = getattr(model, HOST, None)
    return nullcontext() if found is None else found.on_device()


def check(settings: TrainingSettings, *, splits_frozen: bool = False) -> None:
    """Raise BadInput for an offload that another setting excludes. `splits_frozen`: fsdp splits frozen models too."""
    if settings.method == "qlora":
        raise BadInput("offload_reference cannot move weights in 4 bits: take method=lora, or leave it out.")
    if splits_frozen and settings.parallel == "fsdp" and processes.count() > 1:
        raise BadInput("parallel=fsdp splits the reference already: leave out offload_reference, or take parallel=ddp.")
