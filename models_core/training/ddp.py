"""Weights that every process holds whole: their gradients are summed while the backward pass still runs.

torch's DistributedDataParallel does it (Li et al. 2020, 2006.15704): weights lie in buckets, and a bucket is on its way
as soon as its last gradient is there. DDP wants to see the forward pass of its module. Packed rows go through a trunk
and a head in turn, so its module here is one that hands the loss through: from the loss it finds its way back.

Where weights are bf16 their gradients are added up in fp32, in the optimizer's masters; then those are what is sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models_core.modeling.devices import to_device

BUCKET_MB = 32


class _PassThrough(nn.Module):
    """Owns the weights and computes nothing."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


class GradientSync:
    """Sums the gradients of one optimizer's weights over all processes, each into the master that has its gradient.

    A weight that no process used keeps no gradient; one that some used counts as zero in the others.
    """

    def __init__(self, masters: Mapping[nn.Parameter, nn.Parameter]) -> None:
        self.masters: Mapping[Any, nn.Parameter] = masters
        self.is_summed = False
        self._used: list[tuple[list[nn.Parameter], Tensor]] = []
        self._ddp: Any = DistributedDataParallel(
            _PassThrough(list(masters)),
            init_sync=False,  # all have read the same files
            broadcast_buffers=False,
            bucket_cap_mb=BUCKET_MB,
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
        self._ddp.register_comm_hook(self, _sum)

    def attach(self, loss: Tensor) -> Tensor:
        """The minibatch's last loss, in whose backward pass every gradient becomes the sum over all processes."""
        self.is_summed = True
        attached: Tensor = self._ddp(loss)
        return attached

    def noted(self, masters: list[nn.Parameter], used: Tensor) -> None:
        """How many processes used each of these weights, as a tensor that is read once a step."""
        self._used.append((masters, used))

    def forget_unused(self) -> None:
        """After a minibatch's last backward pass: a weight that no process used keeps no gradient."""
        self.is_summed = False
        if self._used:
            masters = [master for bucket, _ in self._used for master in bucket]
            for master, count in zip(masters, torch.cat([used for _, used in self._used]).tolist(), strict=True):
                if not count:
                    master.grad = None
            self._used.clear()


class Backward(Protocol):
    """Adds the gradient of a part of a minibatch's loss; `is_last`: the minibatch's last part on this process."""

    def __call__(self, loss: Tensor, *, is_last: bool) -> None: ...


def backward(loss: Tensor, *, is_last: bool, syncs: Sequence[GradientSync | None] = ()) -> None:
    """Add the gradient of a part of a minibatch's loss; the last part's pass sums them over the processes.

    `syncs` are those of the optimizers whose weights the loss depends on; None in a single process.
    """
    for sync in syncs:
        if sync is not None and is_last:
            loss = sync.attach(loss)
    loss.backward()


def _sum(sync: GradientSync, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DDP's hook, called when all gradients of a bucket are there: sums them, and no average is taken."""
    own, weights = bucket.buffer(), bucket.parameters()
    learning = [sync.masters[weight] for weight in weights]
    if all(master is weight for master, weight in zip(learning, weights, strict=True)):
        return dist.all_reduce(own, async_op=True).get_future().then(lambda done: done.value()[0])
    parts = [torch.zeros_like(master) if master.grad is None else master.grad for master in learning]
    used = to_device([float(master.grad is not None) for master in learning], own.device)
    flat = torch.cat([*(part.reshape(-1) for part in parts), used])

    def put(done: torch.futures.Future[list[Tensor]]) -> Tensor:
        *sums, counts = done.value()[0].split([*(part.numel() for part in parts), len(parts)])
        for master, part, total in zip(learning, parts, sums, strict=True):
            master.grad = part.copy_(total.view_as(part))
        sync.noted(learning, counts)
        return own

    return dist.all_reduce(flat, async_op=True).get_future().then(put)
