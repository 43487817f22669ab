"""Puts the written-out gradients into a model of transformers, where its layers are of a known shape.

The forward of a module is replaced on the instance, so its parameters, names and hooks stay what they are: LoRA inside
a projection, an adapter behind one and FSDP around a layer go on working, and what is saved is the plain model.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from models_core.kernels.norm import rms_norm
from models_core.kernels.rotary import rotate

NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"})
ATTENTIONS = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention"})


def install(trunk: nn.Module) -> None:
    """Do it once for a trunk; models that have no such layer stay as they are."""
    if getattr(trunk, "_has_kernels", False):
        return
    trunk._has_kernels = True  # type: ignore[assignment]
    for module in trunk.modules():
        if type(module).__name__ in NORMS:
            module.forward = MethodType(_norm_forward, module)
        elif type(module).__name__ in ATTENTIONS:
            module.forward = MethodType(_attention_forward, module)


def _norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    if hidden_states.dtype == torch.float64:
        plain: Tensor = type(self).forward(self, hidden_states)
        return plain
    return rms_norm(hidden_states, self.weight, eps=self.variance_epsilon)


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
    projections = (self.q_proj, self.k_proj, self.v_proj)
    query, key, value = (part(hidden_states).unflatten(-1, (-1, self.head_dim)) for part in projections)
    query, key = (rotate(part, *position_embeddings) for part in (query, key))
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
    return self.o_proj(attended.flatten(-2)), None
