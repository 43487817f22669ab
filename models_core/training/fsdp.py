"""Weights of a trunk's layers split over the processes (FSDP2), for models whose optimizer is too large for one.

Each layer's weights, gradients and moments lie in equal shares on all processes; a layer is gathered while it computes.
Embeddings, the last normalisation and the head stay whole everywhere: they may be tied, and they are read outside of
the trunk's forward pass, at the tokens that count. (Zhao et al. 2023, 2304.11277; torch's `fully_shard`.)

A model is loaded to host memory, where the processes of one host share the pages of its file, and its layers go to the
device one by one as they are split: no device ever holds all of them.

Sampling gathers a model's whole weights once for all its tokens (`gathered`): a decode step reads every weight, so that
gathering layer by layer would send the whole model between the processes for each token, and hold them in step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from models_core.contract.errors import BadInput
from models_core.contract.runs import processes
from models_core.modeling.adapters.layers import stack, trunk
from models_core.modeling.devices import tensors_of
from models_core.training import distributed


def shard(network: Any, *, device: torch.device) -> None:
    """Split the layers of the trunk, in place, if they are not yet split, and bring the rest to the device whole.

    Weights that learn become fp32 masters, and all compute in what they were. Raises BadInput where the model has no
    stack of layers, or weights that cannot be split.
    """
    body = trunk(network)
    if is_split(network):
        return
    layers = nn.ModuleList(stack(network, needed_by="parallel=fsdp"))
    dtype = _dtype_to_split(network, layers)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in layers:
        layer.to(device)
        for weight in layer.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        del weight  # the name would keep the layer's last weight whole
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    inside = set(layers.parameters())
    # The root holds no weights of its own: it only ties the layers' gathering together.
    fully_shard(body, mesh=mesh, mp_policy=policy, ignored_params=set(body.parameters()) - inside)
    for tensor in tensors_of(network):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(device)


def _dtype_to_split(network: Any, layers: nn.ModuleList) -> torch.dtype:
    """What the layers compute in. Raises BadInput for weights that cannot be split.

    A function of its own: a list of the weights that outlived it would keep all of them whole on the device.
    """
    weights = list(layers.parameters())
    if not all(weight.is_floating_point() for weight in weights):
        raise BadInput("parallel=fsdp cannot split quantised weights; take parallel=ddp.")
    if not set(weights).isdisjoint(getattr(getattr(network, "tuning", None), "start", {})):
        raise BadInput("parallel=fsdp cannot split an adapter that is trained on from its start; take parallel=ddp.")
    return weights[0].dtype


def is_split(network: Any) -> bool:
    """Whether the layers of a model's trunk, or of a trunk, are split over the processes."""
    return any(isinstance(module, FSDPModule) for module in network.modules())


def missing_passes(network: Any, own: int) -> int:
    """How many forward passes of a split model this process must add to its `own`: all gather its layers together.

    All processes must call it. 0 for whole weights.
    """
    return distributed.largest(own) - own if network is not None and is_split(network) else 0


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


def unshard(network: nn.Module, *, for_saving: bool = False) -> None:
    """Put whole weights in the place of the shares, in place, once training is over: plain modules again.

    `for_saving`: in host memory, and in the first process alone; the others are left with empty ones.
    """
    _gather(network, for_saving=for_saving)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            _unhook(module)


@contextmanager
def gathered(network: nn.Module, *, for_saving: bool = False) -> Iterator[None]:
    """Within it every process holds the whole weights, in what they compute in, in plain modules; then shares again.

    `for_saving`: as of `unshard`. All processes must enter it. Nothing happens to a model that is not split.
    """
    modules = [module for module in network.modules() if isinstance(module, FSDPModule)]
    shares = _gather(network, for_saving=for_saving)
    classes = [_unhook(module) for module in modules]
    try:
        yield
    finally:
        for module, kind in zip(modules, classes, strict=True):
            state = fully_shard.state(module)  # type: ignore[attr-defined]
            module.__class__ = kind
            # As torch's FSDPState.init registers them.
            state._pre_forward_hook_handle = module.register_forward_pre_hook(
                state._pre_forward, prepend=True, with_kwargs=True
            )
            state._post_forward_hook_handle = module.register_forward_hook(state._post_forward, prepend=False)
        for owner, name, share in shares:
            owner.register_parameter(name, share)


def _gather(network: nn.Module, *, for_saving: bool) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Put whole weights in the place of the shares, which are returned with the modules and names they had."""
    shares: list[tuple[nn.Module, str, nn.Parameter]] = []
    for layer in network.modules():
        if isinstance(layer, FSDPModule):
            dtype = fully_shard.state(layer)._mp_policy.param_dtype  # type: ignore[attr-defined]
            for module in layer.modules():
                for name, weight in list(module.named_parameters(recurse=False)):
                    if isinstance(weight, DTensor):
                        shares.append((module, name, weight))
                        share: Any = weight.detach().to(dtype)
                        whole = share.full_tensor()
                        if for_saving:
                            whole = whole.cpu() if processes.is_main() else whole.new_empty(0)
                        module.register_parameter(name, nn.Parameter(whole, requires_grad=weight.requires_grad))
    return shares


def _unhook(module: Any) -> Any:
    """Make a plain module of one of FSDP's; returns the class that it had."""
    state = fully_shard.state(module)  # type: ignore[attr-defined]
    state._pre_forward_hook_handle.remove()
    state._post_forward_hook_handle.remove()
    kind = type(module)
    module.__class__ = kind.__mro__[2]  # FSDP's class derives from (FSDPModule, the layer's own)
    return kind
