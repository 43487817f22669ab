"""Products with weight matrices, in bf16 on a CPU with weights in the order in which oneDNN reads them.

oneDNN otherwise brings a matrix into that order at every call, which takes a third of a decode step (64 rows, a model
of 135M). Doing it once costs as much as ten steps and gives the same numbers, but for a last bit now and then: sums may
be taken in another order (of 200 random inputs of 7 rows, one had a number that was off by one step of bf16).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_core.generation.direct_models import is_swish

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
        return self._packed(states, "none") if self.packed is not None else self._plain(states)

    def plus(self, states: Tensor, other: Tensor) -> Tensor:
        """The product and another tensor of its shape added, in one pass where the weights are packed."""
        if self.packed is None:
            return other + self._plain(states)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(states, other, self.packed, self.bias, "add")
        return out

    def _packed(self, states: Tensor, activation: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.default(states, self.packed, self.bias, activation, [], "")
        return out

    def _plain(self, states: Tensor) -> Tensor:
        parts = [functional.linear(states, linear.weight, linear.bias) for linear in self.linears]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class Gated:
    """activation(gate(x)) * up(x), the inner half of a gated MLP (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, *, activation: nn.Module, pack: bool) -> None:
        self.gate, self.up = Product([gate], pack=pack), Product([up], pack=pack)
        self.activation = activation
        self.is_swish = is_swish(activation)

    def __call__(self, states: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]; packed, with SiLU, in two passes that keep fp32 in between."""
        if self.up.packed is None or not self.is_swish:
            gated: Tensor = self.activation(self.gate(states))
            return gated * self.up(states)
        gated = self.gate._packed(states, "swish")
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(states, gated, self.up.packed, self.up.bias, "mul")
        return out
