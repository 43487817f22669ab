"""Linear layers whose weights are held in int8, for sampling: a quarter of fp32's memory, half of bf16's.

Only weights are rounded (absolute maximum of each output channel, as in LLM.int8() but without its outlier columns:
Dettmers et al. 2022, arXiv 2208.07339, section 2): inputs have a few channels far larger than the others, and one scale
over them costs a small model its text. Heads and embeddings stay as they are: an error there goes into every token.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.quantised import UNQUANTISED

LARGEST = 127


class Int8Linear(nn.Module):
    """y = (x W^T) s + b.

    x: [..., in]; W: int8 [out, in]; s: fp32 [out], the largest magnitude of an output channel's weights over 127;
    y: [..., out], in the dtype of x.
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # bf16 and fp16 hold every int8 exactly, so the weights are rounded once only.
        product = functional.linear(x, self.weight.to(x.dtype)).float() * self.scale
        return (product if self.bias is None else product + self.bias.float()).to(x.dtype)


def quantise(model: Any) -> Any:
    """The model with its linear layers, but for the heads, in int8. Raises BadInput where it has none."""
    linears = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and name.rpartition(".")[2] not in UNQUANTISED
    ]
    if not linears:
        raise BadInput(f"A {type(model).__name__} has no plain linear layers that could be held in int8.")
    for name, linear in linears:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Int8Linear(linear))
    return model


def stored_bytes(model: nn.Module) -> int:
    """Bytes of a model's weights in memory; one that two layers share counts once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}.values())
