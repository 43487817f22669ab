"""The steps of a layer as compiled kernels take them: rows of a table, which `decoder_stack` goes through in one call.

`generation.llama.decoder_layers` says which steps a layer has; here a step is noted down once, and computed for every
token. What passes between steps are addresses of working memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_core.cpu_kernels.decoding import decoder_stack, weight_panels
from models_core.generation.llama.decoder_layers import Layer


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Linear layers side by side: addresses of their panels and biases (0 for none)."""

    address: int
    bias: int
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class GateUp:
    """Panels of both in turn, and the biases of each; outputs: of one."""

    address: int
    gate_bias: int
    up_bias: int
    inputs: int
    outputs: int


class CompiledWeights:
    """As `decoder_layers.Weights`: norms and biases in fp32, matrices in panels."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []  # what the kernels have addresses of

    def norm(self, module: Any) -> int:
        return self.vector(module.weight)

    def linear(self, modules: Sequence[Any]) -> Panels:
        biases = [module.bias for module in modules]
        return Panels(
            address=self._keep(weight_panels.panels([module.weight for module in modules])),
            bias=self.vector(None if biases[0] is None else torch.cat(biases)),
            inputs=modules[0].weight.shape[1],
            outputs=sum(module.weight.shape[0] for module in modules),
        )

    def swiglu(self, gate: Any, up: Any, activation: Any) -> GateUp:
        return GateUp(
            address=self._keep(weight_panels.panels([gate.weight, up.weight], alternating=True)),
            gate_bias=self.vector(gate.bias),
            up_bias=self.vector(up.bias),
            inputs=gate.weight.shape[1],
            outputs=gate.weight.shape[0],
        )

    def vector(self, vector: Tensor | None) -> int:
        """The address of a vector in fp32, 0 for none."""
        return 0 if vector is None else self._keep(vector.detach().float().contiguous().clone())

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()


class StepTable:
    """As `decoder_layers.Steps`; each call notes a step down and returns the address of what it will have written."""

    def __init__(self, *, states: Tensor, heads: Tensor, swiglu: Tensor, width: int) -> None:
        """The working memory between steps, as `decoder_stack.ARGUMENTS` says, and the model's width."""
        self.states, self.heads, self.inner = states.data_ptr(), heads.data_ptr(), swiglu.data_ptr()
        self.width = width
        self._steps: list[list[int]] = []

    def steps(self) -> NDArray[numpy.int64]:
        """[steps, len(decoder_stack.FIELDS)]"""
        return numpy.array(self._steps, dtype=numpy.int64)

    def rms_norm(self, hidden: int, norm: int) -> int:
        return self._note(decoder_stack.RMS_NORM, source=hidden, inputs=self.width, weight=norm, target=self.states)

    def linear(self, states: int, linear: Panels) -> int:
        return self._product(decoder_stack.LINEAR, states, linear, target=self.heads)

    def add_linear(self, hidden: int, states: int, linear: Panels) -> int:
        return self._product(decoder_stack.ADD_LINEAR, states, linear, target=hidden)

    def attention(self, heads: int, layer: Layer[int, Panels, GateUp]) -> int:
        return self._note(
            decoder_stack.ATTENTION,
            source=heads,
            inputs=layer.index,
            weight=layer.query_norm or 0,
            second=layer.key_norm or 0,
            target=self.states,
        )

    def swiglu(self, states: int, gate_up: GateUp) -> int:
        return self._note(
            decoder_stack.SWIGLU,
            source=states,
            inputs=gate_up.inputs,
            weight=gate_up.address,
            bias=gate_up.gate_bias,
            second=gate_up.up_bias,
            outputs=gate_up.outputs,
            target=self.inner,
        )

    def _product(self, kind: int, states: int, linear: Panels, *, target: int) -> int:
        return self._note(
            kind,
            source=states,
            inputs=linear.inputs,
            weight=linear.address,
            bias=linear.bias,
            outputs=linear.outputs,
            target=target,
        )

    def _note(self, kind: int, *, target: int, **fields: int) -> int:
        given = {"kind": kind, "target": target, **fields}
        assert given.keys() <= set(decoder_stack.FIELDS)
        self._steps.append([given.get(field, 0) for field in decoder_stack.FIELDS])
        return target
