"""Adapters: two narrow layers with a residual path after every attention block and every MLP.

Houlsby et al. 2019, arXiv 1902.00751. The second layer starts at zero, so the model starts as it was.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from models_core.modeling.adapters.layers import attention_and_mlp, embedding, stack, trunk


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))): [..., width] -> [..., width]. Switched off it returns x."""

    def __init__(self, *, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.off = False

    def forward(self, states: Tensor) -> Tensor:
        return states if self.off else states + self.up(functional.gelu(self.down(states)))


def add(model: PreTrainedModel, *, inner: int) -> list[Bottleneck]:
    """Adapters of this inner width in all layers; returns them, none where the model has some already.

    The caller decides what learns. Raises BadInput where it is not known what a layer is made of.
    """
    if held(model):
        return []
    like = embedding(model)
    added = []
    for layer in stack(model, needed_by="The method adapter"):
        for block in attention_and_mlp(model, layer, method="adapter"):
            adapter = Bottleneck(width=model.config.hidden_size, inner=inner)
            adapter.to(device=like.device, dtype=like.dtype)
            block.bottleneck = adapter
            block.register_forward_hook(_adapted)
            added.append(adapter)
    return added


def held(model: PreTrainedModel) -> list[Bottleneck]:
    """The adapters in a model, first layer first."""
    return [part for part in trunk(model).modules() if isinstance(part, Bottleneck)]


def _adapted(block: Any, _: Any, output: Any) -> Any:
    """A forward hook: a block returns its states, or a tuple of them and other things."""
    if torch.is_tensor(output):
        return block.bottleneck(output)
    return (block.bottleneck(output[0]), *output[1:])
