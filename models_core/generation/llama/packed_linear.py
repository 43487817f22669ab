"""Linear steps of the fast forward: plain, or in bf16 on a CPU with weights in the order in which oneDNN reads them.

oneDNN otherwise brings a matrix into that order at every call, which takes a third of a decode step (64 rows, a model
of 135M). Doing it once costs as much as ten steps and gives the same numbers, but for a last bit now and then: sums may
be taken in another order (of 200 random inputs of 7 rows, one had a number that was off by one step of bf16).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_core.generation.llama.direct_models import is_silu

EXPECTED_ROWS = 64
"""oneDNN is told how many rows to expect; it takes any number."""


class LinearStep(Protocol):
    """One or several linear layers applied to the same input, their outputs side by side."""

    def __call__(self, states: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]"""

    def add_to(self, residual: Tensor, states: Tensor) -> Tensor:
        """residual [N, outputs] plus the output of states [N, inputs]: a new tensor."""


def can_pack(weight: Tensor) -> bool:
    """Whether this machine multiplies by weights in oneDNN's order: bf16 on a CPU that has instructions for it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def linear_step(linears: Sequence[nn.Linear], *, pack: bool) -> LinearStep:
    """The layers as one step; packed where asked for, see `can_pack`."""
    return PackedLinear(linears) if pack else PlainLinear(linears)


def swiglu_step(gate: nn.Linear, up: nn.Linear, *, activation: nn.Module, pack: bool) -> "SwiGLUStep | PackedSwiGLU":
    """activation(gate(x)) * up(x), the inner half of a gated MLP (Shazeer 2020, 2002.05202)."""
    if pack and is_silu(activation):
        return PackedSwiGLU(gate, up)
    return SwiGLUStep(linear_step([gate], pack=pack), linear_step([up], pack=pack), activation)


class PlainLinear:
    """By torch, over the modules' own weights."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self.linears = linears

    def __call__(self, states: Tensor) -> Tensor:
        parts = [functional.linear(states, linear.weight, linear.bias) for linear in self.linears]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def add_to(self, residual: Tensor, states: Tensor) -> Tensor:
        return residual + self(states)


class PackedLinear:
    """By oneDNN, over a packed copy of the weights; the modules' own are not read again."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        weight = torch.cat([linear.weight.detach() for linear in linears])
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, EXPECTED_ROWS)
        biases = [linear.bias for linear in linears if linear.bias is not None]
        self.bias = torch.cat([bias.detach() for bias in biases]) if biases else None

    def __call__(self, states: Tensor, *, activation: str = "none") -> Tensor:
        """[N, inputs] -> [N, outputs]; the activation ("swish") is fused."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise.default(states, self.weight, self.bias, activation, [], "")
        return out

    def add_to(self, residual: Tensor, states: Tensor) -> Tensor:
        """In one pass."""
        return self._binary(states, residual, "add")

    def multiply(self, other: Tensor, states: Tensor) -> Tensor:
        """other [N, outputs] times the output of states [N, inputs], in one pass."""
        return self._binary(states, other, "mul")

    def _binary(self, states: Tensor, other: Tensor, kind: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(states, other, self.weight, self.bias, kind)
        return out


class SwiGLUStep:
    """activation(gate(x)) * up(x) in steps: [N, inputs] -> [N, outputs]."""

    def __init__(self, gate: LinearStep, up: LinearStep, activation: nn.Module) -> None:
        self.gate, self.up, self.activation = gate, up, activation

    def __call__(self, states: Tensor) -> Tensor:
        gate: Tensor = self.activation(self.gate(states))
        return gate * self.up(states)


class PackedSwiGLU:
    """silu(gate(x)) * up(x) in two passes that keep fp32 in between: [N, inputs] -> [N, outputs]."""

    def __init__(self, gate: nn.Linear, up: nn.Linear) -> None:
        self.gate, self.up = PackedLinear([gate]), PackedLinear([up])

    def __call__(self, states: Tensor) -> Tensor:
        return self.up.multiply(self.gate(states, activation="swish"), states)
