"""Weights of a trunk's layers split over the processes (FSDP2), for models whose optimizer is too large for one.

Each layer's weights, gradients and moments lie in equal shares on all processes; a layer is gathered while it computes.
Embeddings, the last normalisation and the head stay whole everywhere: they may be tied, and they are read outside of
the trunk's forward pass, at the tokens that count. (Zhao et al. 2023, 2304.11277; torch's `fully_shard`.)
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.layers import stack, trunk


def shard(network: Any, *, device: torch.device) -> None:
    """Split the layers of the trunk, in place. Their weights become fp32 masters; they compute in what they were.

    Raises BadInput where the model has no stack of layers, or weights that cannot be split.
    """
    body = trunk(network)
    layers = nn.ModuleList(stack(network, needed_by="parallel=fsdp"))
    weights = list(layers.parameters())
    if not all(weight.is_floating_point() for weight in weights):
        raise BadInput("parallel=fsdp cannot split quantised weights; take parallel=ddp.")
    dtype = weights[0].dtype
    layers.float()
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    inside = set(layers.parameters())
    # The root holds no weights of its own: it only ties the layers' gathering together.
    fully_shard(body, mesh=mesh, mp_policy=policy, ignored_params=set(body.parameters()) - inside)


def is_sharded(weight: Tensor) -> bool:
    return isinstance(weight, DTensor)


def local_shard(weight: Tensor) -> Tensor:
    """This process's share of a weight, in the same memory; a whole weight as it is."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def full_tensor_of(share: Tensor, *, like: Tensor) -> Tensor:
    """A tensor put together from every process's share, split as the weight `like` is. All processes must call it."""
    if not isinstance(like, DTensor) or share.dim() == 0:
        return share
    spread = DTensor.from_local(share, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    return spread.full_tensor()


def shard_of(tensor: Tensor, *, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, split as the weight `like` is."""
    if not isinstance(like, DTensor) or tensor.dim() == 0:
        return tensor
    spread: DTensor = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return spread.to_local()


def unshard(network: nn.Module, *, dtype: torch.dtype) -> None:
    """Put whole weights in the place of the shares, in place, once training is over: plain modules again."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            state = fully_shard.state(module)  # type: ignore[attr-defined]
            state._pre_forward_hook_handle.remove()
            state._post_forward_hook_handle.remove()
            module.__class__ = type(module).__mro__[2]  # FSDP's class derives from (FSDPModule, the layer's own)
        for name, weight in list(module.named_parameters(recurse=False)):
            if isinstance(weight, DTensor):
                full = nn.Parameter(weight.full_tensor().to(dtype), requires_grad=weight.requires_grad)
                module.register_parameter(name, full)
