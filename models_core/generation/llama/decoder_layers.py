"""The layer sequence of a Llama-shaped decoder, for whoever computes its steps: PyTorch, or compiled kernels.

Linear steps and attention are replaceable, and so is what passes between steps: tensors, or the places where a kernel
keeps them (then a step is noted down and computed later, together with the others).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from models_core.generation.llama.direct_models import linears, plain

Norm = TypeVar("Norm")
Linear = TypeVar("Linear")
SwiGLU = TypeVar("SwiGLU")
Values = TypeVar("Values")
Norm_co = TypeVar("Norm_co", covariant=True)
Linear_co = TypeVar("Linear_co", covariant=True)
SwiGLU_co = TypeVar("SwiGLU_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Layer(Generic[Norm, Linear, SwiGLU]):
    """The weights of a decoder layer; `query_norm` and `key_norm` are Qwen3's."""

    index: int
    before_attention: Norm
    query_key_value: Linear
    query_norm: Norm | None
    key_norm: Norm | None
    output: Linear
    before_mlp: Norm
    gate_up: SwiGLU
    down: Linear


class Weights(Protocol[Norm_co, Linear_co, SwiGLU_co]):
    """How weights are made ready for the steps that read them."""

    def norm(self, module: Any) -> Norm_co:
        """Those of an RMS norm."""

    def linear(self, modules: Sequence[Any]) -> Linear_co:
        """Those of linear layers of the same input, whose outputs stand side by side."""

    def swiglu(self, gate: Any, up: Any, activation: Any) -> SwiGLU_co:
        """Those of activation(gate(x)) * up(x), the inner half of a gated MLP (Shazeer 2020, 2002.05202)."""


class Steps(Protocol[Norm, Linear, SwiGLU, Values]):
    """The steps of a layer over N tokens. D width, Q query heads, H key heads of size S, I inner width."""

    def rms_norm(self, hidden: Values, norm: Norm) -> Values:
        """[N, D] -> [N, D]"""

    def linear(self, states: Values, linear: Linear) -> Values:
        """[N, inputs] -> [N, outputs]"""

    def add_linear(self, hidden: Values, states: Values, linear: Linear) -> Values:
        """hidden [N, D] plus the output of states [N, inputs]."""

    def attention(self, heads: Values, layer: Layer[Norm, Linear, SwiGLU]) -> Values:
        """Apply RoPE to queries and keys, append keys and values to the layer's cache, attend over it.

        heads: queries, keys and values side by side, [N, (Q + 2 H) S] -> [N, Q S].
        """

    def swiglu(self, states: Values, gate_up: SwiGLU) -> Values:
        """[N, D] -> [N, I]"""


def read_layer(
    layer: Any, index: int, weights: Weights[Norm, Linear, SwiGLU], *, release: bool = False
) -> Layer[Norm, Linear, SwiGLU]:
    """A decoder layer of transformers, made ready; `release`: its linear layers lose their own weights."""
    query, key, value, output, gate, up, down = (plain(part) for part in linears(layer))
    attention = layer.self_attn
    read = Layer(
        index=index,
        before_attention=weights.norm(layer.input_layernorm),
        query_key_value=weights.linear([query, key, value]),
        query_norm=weights.norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=weights.norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        output=weights.linear([output]),
        before_mlp=weights.norm(layer.post_attention_layernorm),
        gate_up=weights.swiglu(gate, up, layer.mlp.act_fn),
        down=weights.linear([down]),
    )
    if release:
        release_layer(layer)
    return read


def release_layer(layer: Any) -> None:
    """Let go of the weights of a layer's linear layers: the layer is of no use afterwards."""
    for part in linears(layer):
        weight = plain(part).weight
        weight.data = weight.data.new_empty(0)


def forward(
    layers: Sequence[Layer[Norm, Linear, SwiGLU]], hidden: Values, steps: Steps[Norm, Linear, SwiGLU, Values]
) -> Values:
    """All layers: embedded tokens [N, D] -> what the last norm takes, [N, D]."""
    for layer in layers:
        heads = steps.linear(steps.rms_norm(hidden, layer.before_attention), layer.query_key_value)
        hidden = steps.add_linear(hidden, steps.attention(heads, layer), layer.output)
        inner = steps.swiglu(steps.rms_norm(hidden, layer.before_mlp), layer.gate_up)
        hidden = steps.add_linear(hidden, inner, layer.down)
    return hidden
