"""One run in many processes: which rows are whose, and what all of them agree on.

Without torchrun's environment variables everything here is that of a single process. A minibatch is split over the
processes, each divides by the token count of the whole, and gradients are summed (models_core.training.ddp): the result
is that of one process but for the order of additions. nccl carries them between GPUs, gloo between processors.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.runs import processes
from models_core.training.batching import micro_batches

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=30)
"""The longest that a process waits for the others: rank 0 saves a model while they wait."""


def join(device: torch.device) -> None:
    """Meet the other processes, each GPU with a process of its own. Nothing to do for a single process."""
    if processes.count() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise BadInput(f"Each process needs a GPU of its own, and {gpus} can be seen here: take fewer processes.")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes in order."""
    if dist.is_initialized():
        dist.destroy_process_group()


def wait() -> None:
    """Go on once every process has come this far."""
    if dist.is_initialized():
        dist.barrier()


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def total(value: float, *, device: torch.device | str = "cpu") -> float:
    """The sum of a number over all processes."""
    if not dist.is_initialized():
        return value
    return float(all_reduce_sum(torch.tensor(value, dtype=torch.float64, device=device)))


def largest(value: int) -> int:
    """The largest of a number over all processes."""
    return max(all_gather({processes.rank(): value}).values())


def any_of(flag: bool, *, device: torch.device | str = "cpu") -> bool:
    """Whether the flag is set in some process: signals arrive at different times, and all must act alike."""
    return total(float(flag), device=device) > 0


def broadcast(text: str) -> str:
    """The first process's text, in every process."""
    if not dist.is_initialized():
        return text
    texts = [text]
    dist.broadcast_object_list(texts)
    return texts[0]


def all_gather(own: Mapping[int, Value]) -> dict[int, Value]:
    """What every process has worked out of its rows, by row, in every process."""
    if not dist.is_initialized():
        return dict(own)
    parts: list[Any] = [None] * processes.count()
    dist.all_gather_object(parts, dict(own))
    return {row: value for part in parts for row, value in part.items()}


def rows_of_rank(lengths: Sequence[int]) -> list[int]:
    """The rows that this process computes, in order; every row is one process's."""
    return sorted(_rows_by_rank(lengths)[processes.rank()])


def _rows_by_rank(lengths: Sequence[int]) -> list[list[int]]:
    """The rows of every process: longest first, each to the process with the fewest tokens so far."""
    rows_of: list[list[int]] = [[] for _ in range(processes.count())]
    tokens = [0] * processes.count()
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        least = tokens.index(min(tokens))
        rows_of[least].append(row)
        tokens[least] += lengths[row]
    return rows_of


class MicroBatch(NamedTuple):
    """Rows of a minibatch that one process computes at once. `weight` is that of their loss."""

    rows: list[int]
    weight: float
    is_last: bool  # of this process's shares: gradients are complete after it


def micro_batches_for_rank(lengths: Sequence[int], *, budget: int) -> list[MicroBatch]:
    """This process's micro-batches of a minibatch.

    All processes compute equally many, because under FSDP each gathers weights from all; one that lacks rows computes
    some with weight 0.
    """
    cut = [
        [[rows[place] for place in batch] for batch in micro_batches([lengths[row] for row in rows], budget=budget)]
        for rows in _rows_by_rank(lengths)
    ]
    shortest = [min(range(len(lengths)), key=lengths.__getitem__)] if lengths else []
    mine = [(batch, 1.0) for batch in cut[processes.rank()]]
    mine += [(shortest, 0.0)] * (max(map(len, cut)) - len(mine))
    return [MicroBatch(rows, weight, number == len(mine)) for number, (rows, weight) in enumerate(mine, start=1)]
