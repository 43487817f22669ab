"""Products with weight matrices, in bf16 on a CPU with weights in the order in which oneDNN reads them.

oneDNN otherwise brings a matrix into that order at every call, which takes a third of a decode step (64 rows, a model
of 135M). Doing it once costs as much as ten steps and gives the same numbers, bit for bit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS = 64
"""oneDNN is told how many rows to expect; it takes any number."""


def can_pack(weight: Tensor) -> bool:
    """Whether this machine multiplies by weights in oneDNN's order: bf16 on a CPU that has instructions for it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class Product:
    """One or several linear layers applied to the same input, their outputs side by side."""

    def __init__(self, linears: Sequence[nn.Linear], *, pack: bool = False) -> None:
        self.linears = linears
        self.packed: Tensor | None = None
        if pack:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(
                torch.cat([linear.weight.detach() for linear in linears]), ROWS
            )
            biases = [linear.bias for linear in linears if linear.bias is not None]
            self.bias = torch.cat([bias.detach() for bias in biases]) if biases else None

    def __call__(self, states: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]"""
        if self.packed is not None:
            out: Tensor = torch.ops.mkldnn._linear_pointwise.default(states, self.packed, self.bias, "none", [], "")
            return out
        parts = [functional.linear(states, linear.weight, linear.bias) for linear in self.linears]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
