"""Whether the compiled kernels know every part of a model. Imports none of them."""

from typing import Any

import torch

from models_core.generation.llama.direct_models import is_direct, is_silu, linears, plain

WIDTH = 32
"""What every size of the model must be a multiple of: columns of a panel."""
FIXED_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary positions whose angles do not depend on the length of the text."""


def fits(model: Any) -> bool:
    """Whether a model's every part is one that the kernels know."""
    return (
        is_direct(model)
        and all(part.weight.device.type == "cpu" and part.weight.dtype == torch.bfloat16 for part in _weights(model))
        and all(size % WIDTH == 0 for size in _sizes(model))
        and all(map(_is_known, model.model.layers))
        and model.model.rotary_emb.rope_type in FIXED_ROPE_TYPES
        and 2 * len(model.model.rotary_emb.inv_freq) == model.model.layers[0].self_attn.head_dim
    )


def _weights(model: Any) -> list[Any]:
    parts = [plain(part) for layer in model.model.layers for part in linears(layer)]
    return [model.model.embed_tokens, plain(model.lm_head), *parts]


def _sizes(model: Any) -> tuple[int, ...]:
    return model.config.hidden_size, model.config.intermediate_size, model.model.layers[0].self_attn.head_dim


def _is_known(layer: Any) -> bool:
    query, key, value = (plain(part) for part in linears(layer)[:3])
    return is_silu(layer.mlp.act_fn) and len({part.bias is None for part in (query, key, value)}) == 1
