"""A trunk's layers by torch.compile: what lies between products is fused, which saves a GPU passes over its memory.

Layers are compiled and not the trunk as a whole: they are alike, so one is compiled for all. The attention of packed
rows is called from between the compiled parts: it has kernels of its own, and a layout that differs each time. Compiled
layers take transformers' own forward; the gradients of models_core.modeling.manual_autograd, written for processors,
are left to the compiler.
"""

import os
import shutil
from collections.abc import Callable
from functools import cache
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from models_core.contract.errors import BadInput
from models_core.modeling import families, forward_check, packing
from models_core.modeling.adapters.layers import embedding, stack, trunk
from models_core.modeling.manual_autograd import install

ATTENTION = "hone_packed_uncompiled"
"""The attention of packed rows, called by compiled layers."""
BACKEND = "inductor"
"""What torch.compile makes kernels by: its own default."""


def compile_layers(model: Any) -> None:
    """Have a model's packed rows computed by compiled layers; whatever else it computes goes its usual way.

    Raises BadInput where there is no compiler for its device, or where the model doesn't take packed rows.
    """
    ways = families.fast_ways(model)
    if not ways.packed:
        raise BadInput(
            f"compile_trunk: a {type(model).__name__} is computed by transformers' own forward on padded rows, which "
            f"is not compiled ({', '.join(ways.reasons)}). Take compile_trunk=false."
        )
    check_compiler(embedding(model).device)
    body: Any = trunk(model)
    install.remove(body)
    AttentionInterface.register(ATTENTION, torch.compiler.disable(AttentionInterface()[packing.PACKED_ATTENTION]))
    for layer in stack(model, needed_by="compile_trunk"):
        layer.forward = MethodType(_forward, layer)
    setattr(body, packing.COMPILED, ATTENTION)
    getattr(body, forward_check.FOUND, {}).pop("packed rows", None)  # it was another way that was found to be right
    packing.check(body)
    if not families.fast_ways(model).packed:
        raise BadInput(
            f"compile_trunk: the compiled layers of a {type(model).__name__} fail, or compute something else than "
            f"transformers' own forward ({', '.join(families.fast_ways(model).reasons)}). Take compile_trunk=false."
        )


def check_compiler(device: torch.device) -> None:
    """Raise BadInput where torch.compile can make no kernels for a device."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        needed = None if has_triton() else "the package triton"
    else:
        compiler = os.environ.get("CXX", "g++")
        needed = None if shutil.which(compiler) else f"a C++ compiler ({compiler})"
    if needed is not None:
        raise BadInput(f"compile_trunk needs {needed}, which this machine does not have. Take compile_trunk=false.")


@cache
def _compiled(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A class's forward, compiled once for all its layers and for rows of all lengths."""
    return torch.compile(forward, dynamic=True, backend=BACKEND)


def _forward(self: Any, hidden_states: Tensor, *given: Any, **named: Any) -> Any:
    """In the place of a layer's forward: packed rows bring a layout."""
    forward = type(self).forward
    if named.get("layout") is not None:
        forward = _compiled(forward)
    return forward(self, hidden_states, *given, **named)
