"""A Llama-shaped model (Llama, Mistral, Qwen2, Qwen3) as plain functions over its weights, for decoding alone.

Its linear steps (packed_linear.py) and its attention (the cache that a step is given) can be replaced.
transformers' own module tree spends as long on bookkeeping, masks and unfused norms as on the products themselves.
Prompts are computed end to end without padding between them, but for attention.

Shapes: N tokens, B rows, W columns of a prompt batch, T positions seen, D width, S head size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache

from models_core.generation.direct_models import is_direct, linears, plain
from models_core.generation.packed_linear import (
    LinearStep,
    PackedSwiGLU,
    SwiGLUStep,
    can_pack,
    linear_step,
    swiglu_step,
)

DIRECT_SCORES = 2**24
"""Attention scores of a prompt batch that are held at once; beyond them torch's own attention takes over."""


class LayerCache(Protocol):
    """What a step needs of one layer's keys and values; shapes as in `kv_cache`."""

    def append(self, keys: Tensor, values: Tensor) -> None: ...

    def attend(self, query: Tensor, *, bias: Tensor, scaling: float) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class _Norm:
    weight: Tensor
    eps: float

    def __call__(self, states: Tensor) -> Tensor:
        return functional.rms_norm(states, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """The parts of a decoder layer; `query_norm` and `key_norm` are Qwen3's."""

    before_attention: _Norm
    query_key_value: LinearStep
    query_norm: _Norm | None
    key_norm: _Norm | None
    output: LinearStep
    before_mlp: _Norm
    inner: SwiGLUStep | PackedSwiGLU
    down: LinearStep


class LlamaForward:
    """One model's forward passes. `of` gives None for a model that is not of this shape, or that has been changed."""

    def __init__(self, model: Any, *, pack: bool) -> None:
        body, attention = model.model, model.model.layers[0].self_attn
        self.embedding: Tensor = body.embed_tokens.weight
        self.rotary = body.rotary_emb
        self.size: int = attention.head_dim
        self.scaling: float = attention.scaling
        self.query_heads: int = model.config.num_attention_heads
        self.key_heads: int = model.config.num_key_value_heads
        self.is_packed = pack and can_pack(self.embedding)
        self.layers = [_layer(layer, pack=self.is_packed) for layer in body.layers]
        self.norm = _norm(body.norm)
        self.head = linear_step([model.lm_head], pack=self.is_packed)

    def release(self, model: Any) -> None:
        """Let go of the plain weights that stand packed beside them, and of the file that the others were read from.

        The model is of no use afterwards, but for its settings.
        """
        if not self.is_packed:
            return
        for layer in model.model.layers:
            for module in linears(layer):
                weight = plain(module).weight
                weight.data = weight.data.new_empty(0)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()

    @classmethod
    def of(cls, model: Any, *, pack: bool) -> "LlamaForward | None":
        """For models that `direct_models.is_direct` is true of."""
        return cls(model, pack=pack) if is_direct(model) else None

    def step(self, tokens: Tensor, positions: Tensor, bias: Tensor, caches: Sequence[LayerCache]) -> Tensor:
        """What the head reads after one more token a row: tokens [B], positions [B], bias [B, 1, 1, T] -> [B, D]."""
        hidden = functional.embedding(tokens, self.embedding)
        rotation = self._rotation(hidden, positions)
        for layer, cache in zip(self.layers, caches, strict=True):
            query, key, value = self._heads(layer, hidden, rotation)
            cache.append(key, value)
            attended = cache.attend(query, bias=bias, scaling=self.scaling)
            hidden = _through(layer, hidden, attended)
        return self.norm(hidden)

    def read(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """What the head reads after the last column: [B, D]; ids and positions [B, W], mask [B, T], T = W +
        slots in the cache.

        Padding is on the left. The cache gets keys and values of every column, zeros where there is padding.
        """
        rows, width = ids.shape
        real = mask[:, -width:].flatten().bool()
        kept = slice(None) if bool(real.all()) else real.nonzero().squeeze(1)
        hidden = functional.embedding(ids.flatten()[kept], self.embedding)
        rotation = self._rotation(hidden, positions.flatten()[kept])
        allowed = _causal(mask, width)
        for index, layer in enumerate(self.layers):
            parts = []
            for part in self._heads(layer, hidden, rotation):
                padded = part.new_zeros(rows * width, *part.shape[1:])
                padded[kept] = part
                parts.append(padded.view(rows, width, *part.shape[1:]).transpose(1, 2))
            query, key, value = parts
            keys, values = cache.update(key, value, index)
            attended = self._attended(query, keys, values, allowed)
            hidden = _through(layer, hidden, attended.transpose(1, 2).reshape(rows * width, -1)[kept])
        last = real.cumsum(0).view(rows, width)[:, -1] - 1
        return self.norm(hidden[last])

    def _rotation(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines, and sines whose first half is negative: both [N, 1, S]."""
        cosines, sines = self.rotary(hidden, positions[:, None])
        half = self.size // 2
        return cosines, torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)

    def _heads(self, layer: _Layer, hidden: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys and values of every token: [N, heads, S] each."""
        heads = layer.query_key_value(layer.before_attention(hidden)).view(len(hidden), -1, self.size)
        query_key, value = heads[:, : -self.key_heads], heads[:, -self.key_heads :]
        if layer.query_norm is not None and layer.key_norm is not None:
            query_key = torch.cat(
                (layer.query_norm(query_key[:, : self.query_heads]), layer.key_norm(query_key[:, self.query_heads :])),
                dim=1,
            )
        cosines, sines = rotation
        query_key = torch.addcmul(query_key * cosines, query_key.roll(self.size // 2, -1), sines)
        return query_key[:, : self.query_heads], query_key[:, self.query_heads :], value

    def _attended(self, query: Tensor, keys: Tensor, values: Tensor, allowed: Tensor) -> Tensor:
        """query: [B, query heads, W, S], keys and values: [B, key heads, T, S], allowed: [B, W, T] -> as query."""
        rows, _, width, size = query.shape
        if rows * self.query_heads * width * keys.shape[2] > DIRECT_SCORES:
            return functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=allowed[:, None], scale=self.scaling, enable_gqa=True
            )
        grouped = query.reshape(rows, self.key_heads, -1, size)
        scores = torch.matmul(grouped, keys.transpose(2, 3)).view(rows, self.query_heads, width, -1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * self.scaling
        weights = scores.masked_fill_(~allowed[:, None], -torch.inf).softmax(dim=-1).to(values.dtype)
        return torch.matmul(weights.view(rows, self.key_heads, -1, keys.shape[2]), values).view(query.shape)


def _through(layer: _Layer, hidden: Tensor, attended: Tensor) -> Tensor:
    """The rest of a layer after its attention: [N, D]."""
    hidden = layer.output.add_to(hidden, attended)
    return layer.down.add_to(hidden, layer.inner(layer.before_mlp(hidden)))


def _causal(mask: Tensor, width: int) -> Tensor:
    """Which of the T positions each of the last `width` may see: [B, T] -> [B, width, T]. Padding sees itself."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    own = positions[-width:, None]
    return (mask.bool()[:, None] & (positions <= own)) | (positions == own)


def _layer(layer: Any, *, pack: bool) -> _Layer:
    query, key, value, output, gate, up, down = (plain(part) for part in linears(layer))
    attention = layer.self_attn
    return _Layer(
        before_attention=_norm(layer.input_layernorm),
        query_key_value=linear_step([query, key, value], pack=pack),
        query_norm=_norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        output=linear_step([output], pack=pack),
        before_mlp=_norm(layer.post_attention_layernorm),
        inner=swiglu_step(gate, up, activation=layer.mlp.act_fn, pack=pack),
        down=linear_step([down], pack=pack),
    )


def _norm(module: Any) -> _Norm:
    return _Norm(weight=module.weight, eps=module.variance_epsilon)
