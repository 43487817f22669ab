"""Which way a device takes, and the one way in which rows become tensors on it.

A GPU computes what was queued while Python prepares what comes next; whatever reads a number back, or copies from
memory that is not pinned, ends that until the queue is empty. So on the path of accelerators nothing within a
micro-batch does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_tried: list[bool] = []


def is_accelerator(device: torch.device | str) -> bool:
    """Whether what is computed there takes the way of GPUs: queued by the host, and read once a step."""
    return bool(_tried) or torch.device(device).type == "cuda"


@contextmanager
def accelerator_path() -> Iterator[None]:
    """Within it every device takes the way of GPUs: for tests on a machine without one."""
    _tried.append(True)
    try:
        yield
    finally:
        _tried.pop()


def tensors_of(model: Any) -> list[Tensor]:
    """All that a model's passes read: weights, buffers, the heads of an ensemble, and what an adapter began from."""
    ensemble = getattr(model, "ensemble", None)
    of_heads = [ensemble.weight, ensemble.shifts] if ensemble is not None else []
    began = getattr(getattr(model, "tuning", None), "start", {})
    return [*model.parameters(), *model.buffers(), *of_heads, *began.values()]


def to_device(
    values: Tensor | Sequence[Any], device: torch.device | str, *, dtype: torch.dtype | None = None
) -> Tensor:
    """A tensor of the CPU, or numbers, on the device. To a GPU by pinned memory, without waiting for the copy."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values, dtype=dtype)
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
