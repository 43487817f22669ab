"""Puts the written-out gradients into a model of transformers, where its layers are of a known shape.

The forward of a module is replaced on the instance, so its parameters, names and hooks stay what they are: LoRA inside
a projection, an adapter behind one and FSDP around a layer go on working, and what is saved is the plain model.
Projections of one input are computed together where they are plain or have one LoRA, and else called as modules.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.activations import SiLUActivation

from models_core.modeling.manual_autograd.fused_projections import is_low_rank, low_rank_forward, projected
from models_core.modeling.manual_autograd.rms_norm import add_rms_norm, rms_norm
from models_core.modeling.manual_autograd.rope import apply_rope
from models_core.modeling.manual_autograd.swiglu import swiglu

NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"})
ATTENTIONS = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention"})
LAYERS = frozenset({"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"})
MLPS = frozenset({"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"})

SILUS = (nn.SiLU, SiLUActivation)


def install(trunk: nn.Module) -> None:
    """Do it once for a trunk; models that have no such layer stay as they are."""
    if getattr(trunk, "_has_kernels", False):
        return
    trunk._has_kernels = True  # type: ignore[assignment]
    layers: list[Any] = []
    for module in trunk.modules():
        if (forward := _replacement(module)) is not None:
            module.forward = MethodType(forward, module)
            layers += [module] if forward is _layer_forward else []
    for layer in layers:
        layer.is_last = layer is layers[-1]
    trunk._chooses_rows = bool(layers)  # type: ignore[assignment]


def remove(trunk: nn.Module) -> None:
    """Give the modules of a trunk their own forward back."""
    ours = (low_rank_forward, _norm_forward, _attention_forward, _mlp_forward, _layer_forward)
    for module in trunk.modules():
        if getattr(vars(module).get("forward"), "__func__", None) in ours:
            del module.forward
    trunk._has_kernels = False  # type: ignore[assignment]


def chooses_rows(trunk: Any) -> bool:
    """Whether the last layer of a trunk takes `rows`, and gives back the states of those tokens alone."""
    return bool(trunk._chooses_rows)


def _replacement(module: Any) -> Callable[..., Any] | None:
    name = type(module).__name__
    if is_low_rank(module):
        return low_rank_forward
    if name in NORMS:
        return _norm_forward
    if name in ATTENTIONS:
        return _attention_forward
    if name in MLPS and isinstance(module.act_fn, SILUS):
        return _mlp_forward
    if name in LAYERS and type(module.post_attention_layernorm).__name__ in NORMS:
        return _layer_forward
    return None


def _norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    if hidden_states.dtype == torch.float64:
        plain: Tensor = type(self).forward(self, hidden_states)
        return plain
    return rms_norm(hidden_states, self.weight, eps=self.variance_epsilon)


def _mlp_forward(self: Any, x: Tensor) -> Tensor:
    gate, up = projected(x, [self.gate_proj, self.up_proj])
    return projected(swiglu(gate, up), [self.down_proj])[0]


def _layer_forward(self: Any, hidden_states: Tensor, *given: Any, rows: Tensor | None = None, **named: Any) -> Any:
    """Packed rows have the sum before the MLP and its normalisation computed together.

    Of the last layer's states only those at `rows` are wanted, where they are given: of the others it needs no more
    than their keys and values. A layer that is computed twice goes the usual way: transformers does that in the forward
    that is replaced here.
    """
    norm = self.post_attention_layernorm
    rows = rows if self.is_last else None
    is_watched = norm._forward_hooks or norm._forward_pre_hooks
    is_plain = named.get("layout") is not None and not given and hidden_states.dtype != torch.float64
    if not is_plain or is_watched or self.gradient_checkpointing:
        states = type(self).forward(self, hidden_states, *given, **named)
        return states if rows is None else states.index_select(1, rows)
    attended, _ = self.self_attn(self.input_layernorm(hidden_states), **named)
    if rows is not None:
        hidden_states, attended = (states.index_select(1, rows) for states in (hidden_states, attended))
    hidden_states, normed = add_rms_norm(hidden_states, attended, norm.weight, eps=norm.variance_epsilon)
    return hidden_states + self.mlp(normed)


def _attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **given: Any,
) -> tuple[Tensor, Any]:
    """Packed rows (they bring a layout) have their own rotation; whatever else is computed goes the usual way."""
    if given.get("layout") is None or position_embeddings is None or past_key_values is not None:
        usual: tuple[Tensor, Any] = type(self).forward(
            self,
            hidden_states,
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **given,
        )
        return usual
    projections = projected(hidden_states, [self.q_proj, self.k_proj, self.v_proj])
    query, key, value = (part.unflatten(-1, (-1, self.head_dim)) for part in projections)
    query, key = (apply_rope(part, *position_embeddings) for part in (query, key))
    attend = AttentionInterface()[self.config._attn_implementation]
    attended, _ = attend(
        self,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attention_mask,
        scaling=self.scaling,
        sliding_window=getattr(self, "sliding_window", None),
        **given,
    )
    return projected(attended.flatten(-2), [self.o_proj])[0], None
