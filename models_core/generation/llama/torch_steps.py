"""A Llama-shaped model over its weights directly, by PyTorch: the steps of its layers, and its forward passes.

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

from models_core.generation.llama import decoder_layers
from models_core.generation.llama.decoder_layers import Layer
from models_core.generation.llama.direct_models import is_direct
from models_core.generation.llama.packed_linear import (
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
class TorchNorm:
    weight: Tensor
    eps: float

    def __call__(self, states: Tensor) -> Tensor:
        return functional.rms_norm(states, self.weight.shape, self.weight, self.eps)


TorchLayer = Layer[TorchNorm, LinearStep, SwiGLUStep | PackedSwiGLU]


class TorchWeights:
    """As `decoder_layers.Weights`; linear layers in oneDNN's order if asked for."""

    def __init__(self, *, pack: bool) -> None:
        self.pack = pack

    def norm(self, module: Any) -> TorchNorm:
        return TorchNorm(weight=module.weight, eps=module.variance_epsilon)

    def linear(self, modules: Sequence[Any]) -> LinearStep:
        return linear_step(modules, pack=self.pack)

    def swiglu(self, gate: Any, up: Any, activation: Any) -> SwiGLUStep | PackedSwiGLU:
        return swiglu_step(gate, up, activation=activation, pack=self.pack)


class TorchLlama:
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
        weights = TorchWeights(pack=self.is_packed)
        self.layers: list[TorchLayer] = [
            decoder_layers.read_layer(layer, index, weights) for index, layer in enumerate(body.layers)
        ]
        self.norm = weights.norm(body.norm)
        self.head = weights.linear([model.lm_head])

    def release(self, model: Any) -> None:
        """Let go of the plain weights that stand packed beside them, and of the file that the others were read from.

        The model is of no use afterwards, but for its settings.
        """
        if not self.is_packed:
            return
        for layer in model.model.layers:
            decoder_layers.release_layer(layer)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()

    @classmethod
    def of(cls, model: Any, *, pack: bool) -> "TorchLlama | None":
        """For models that `direct_models.is_direct` is true of."""
        return cls(model, pack=pack) if is_direct(model) else None

    def step(self, tokens: Tensor, positions: Tensor, bias: Tensor, caches: Sequence[LayerCache]) -> Tensor:
        """What the head reads after one more token a row: tokens [B], positions [B], bias [B, 1, 1, T] -> [B, D]."""
        hidden = functional.embedding(tokens, self.embedding)
        steps = DecodeSteps(self, self.rotation(hidden, positions), caches=caches, bias=bias)
        return self.norm(decoder_layers.forward(self.layers, hidden, steps))

    def read(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """What the head reads after the last column: [B, D]; ids and positions [B, W], mask [B, T], T = W +
        slots in the cache.

        Padding is on the left. The cache gets keys and values of every column, zeros where there is padding.
        """
        real = mask[:, -ids.shape[1] :].flatten().bool()
        kept = slice(None) if bool(real.all()) else real.nonzero().squeeze(1)
        hidden = functional.embedding(ids.flatten()[kept], self.embedding)
        steps = PromptSteps(
            self, self.rotation(hidden, positions.flatten()[kept]), cache=cache, kept=kept, mask=mask, shape=ids.shape
        )
        hidden = decoder_layers.forward(self.layers, hidden, steps)
        last = real.cumsum(0).view(ids.shape)[:, -1] - 1
        return self.norm(hidden[last])

    def rotation(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines, and sines whose first half is negative: both [N, 1, S]."""
        cosines, sines = self.rotary(hidden, positions[:, None])
        half = self.size // 2
        return cosines, torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)


class TorchSteps:
    """The steps that decoding and reading prompts have in common; see `decoder_layers.Steps`."""

    def __init__(self, model: TorchLlama, rotation: tuple[Tensor, Tensor]) -> None:
        self.model = model
        self.rotation = rotation

    def rms_norm(self, hidden: Tensor, norm: TorchNorm) -> Tensor:
        return norm(hidden)

    def linear(self, states: Tensor, linear: LinearStep) -> Tensor:
        return linear(states)

    def add_linear(self, hidden: Tensor, states: Tensor, linear: LinearStep) -> Tensor:
        return linear.add_to(hidden, states)

    def swiglu(self, states: Tensor, gate_up: SwiGLUStep | PackedSwiGLU) -> Tensor:
        return gate_up(states)

    def rotated(self, heads: Tensor, layer: TorchLayer) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys and values of every token: [N, heads, S] each."""
        model = self.model
        heads = heads.view(len(heads), -1, model.size)
        query_key, value = heads[:, : -model.key_heads], heads[:, -model.key_heads :]
        if layer.query_norm is not None and layer.key_norm is not None:
            query, key = query_key[:, : model.query_heads], query_key[:, model.query_heads :]
            query_key = torch.cat((layer.query_norm(query), layer.key_norm(key)), dim=1)
        cosines, sines = self.rotation
        query_key = torch.addcmul(query_key * cosines, query_key.roll(model.size // 2, -1), sines)
        return query_key[:, : model.query_heads], query_key[:, model.query_heads :], value


class DecodeSteps(TorchSteps):
    """One more token a row, over caches that attend by themselves."""

    def __init__(
        self, model: TorchLlama, rotation: tuple[Tensor, Tensor], *, caches: Sequence[LayerCache], bias: Tensor
    ) -> None:
        super().__init__(model, rotation)
        self.caches, self.bias = caches, bias

    def attention(self, heads: Tensor, layer: TorchLayer) -> Tensor:
        query, key, value = self.rotated(heads, layer)
        cache = self.caches[layer.index]
        cache.append(key, value)
        return cache.attend(query, bias=self.bias, scaling=self.model.scaling)


class PromptSteps(TorchSteps):
    """Whole prompts, of whose columns the `kept` ones are no padding."""

    def __init__(
        self,
        model: TorchLlama,
        rotation: tuple[Tensor, Tensor],
        *,
        cache: Cache,
        kept: Tensor | slice,
        mask: Tensor,
        shape: torch.Size,
    ) -> None:
        super().__init__(model, rotation)
        self.cache, self.kept, self.shape = cache, kept, shape
        self.allowed = _causal(mask, shape[1])

    def attention(self, heads: Tensor, layer: TorchLayer) -> Tensor:
        rows, width = self.shape
        parts = []
        for part in self.rotated(heads, layer):
            padded = part.new_zeros(rows * width, *part.shape[1:])
            padded[self.kept] = part
            parts.append(padded.view(rows, width, *part.shape[1:]).transpose(1, 2))
        query, key, value = parts
        keys, values = self.cache.update(key, value, layer.index)
        attended = self._attended(query, keys, values)
        return attended.transpose(1, 2).reshape(rows * width, -1)[self.kept]

    def _attended(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """query: [B, query heads, W, S], keys and values: [B, key heads, T, S] -> as query."""
        model = self.model
        rows, _, width, size = query.shape
        if rows * model.query_heads * width * keys.shape[2] > DIRECT_SCORES:
            return masked_attention(
                query, keys, values, mask=self.allowed[:, None], scale=model.scaling, grouped=not query.is_cuda
            )
        grouped = query.reshape(rows, model.key_heads, -1, size)
        scores = torch.matmul(grouped, keys.transpose(2, 3)).view(rows, model.query_heads, width, -1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * model.scaling
        weights = scores.masked_fill_(~self.allowed[:, None], -torch.inf).softmax(dim=-1).to(values.dtype)
        return torch.matmul(weights.view(rows, model.key_heads, -1, keys.shape[2]), values).view(query.shape)


def masked_attention(
    query: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor, scale: float, grouped: bool
) -> Tensor:
    """torch's attention over query heads in groups: query [B, G * H, W, S], keys and values [B, H, T, S] -> as query.

    Without `grouped` keys are repeated first: on a GPU the kernels that take a mask (1 or 0, [B, 1, W, T]) know no
    groups, and the one that does holds all scores.
    """
    if not grouped:
        groups = query.shape[1] // keys.shape[1]
        keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
    return functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale, enable_gqa=grouped)


def _causal(mask: Tensor, width: int) -> Tensor:
    """Which of the T positions each of the last `width` may see: [B, T] -> [B, width, T]. Padding sees itself."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    own = positions[-width:, None]
    return (mask.bool()[:, None] & (positions <= own)) | (positions == own)
