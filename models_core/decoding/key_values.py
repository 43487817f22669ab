"""The keys and values of rows in flight, written in place, and attention for one new token a row over them.

transformers' own cache grows by concatenation: every decode step copies all of it. And its attention kernels are made
for many queries; for one query a row, on a CPU, two plain matrix products over keys stored by column take a third of
the time (bf16, 64 rows, 120 places: 0.6 ms a layer instead of 2.1).

Shapes: B rows, H key heads, G query heads a key head, S head size, T places in use, C capacity.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from models_core.language_models import trunk

DECODING = "hone_decoding"


class KeyValues(CacheLayerMixin):
    """One layer's part. keys: [B, H, S, C], values: [B, H, C, S]; the first `rows` rows and `length` places are in use.

    Every row writes its next token to the same place: prompts are padded on the left to one width.
    """

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, like: Any, *, rows: int, capacity: int, width: int) -> None:
        """Room for `rows`; the first `width` places are for prompts. `like`: a layer of transformers with content."""
        super().__init__()
        heads, size = like.keys.shape[1], like.keys.shape[3]
        self.rows = rows
        self.length = width
        # Zeros, not whatever the memory held: a masked place is multiplied by weight 0, and 0 x NaN is NaN.
        self.keys = like.keys.new_zeros(rows, heads, size, capacity)
        self.values = like.values.new_zeros(rows, heads, capacity, like.values.shape[3])
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True

    def fill(self, prompts: Any, *, source: Tensor, rows: Tensor, shared: int) -> None:
        """Copy computed prompts into rows: `shared` places on the left, the rest up against the prompts' width."""
        start = self.length - (prompts.keys.shape[2] - shared)
        keys, values = prompts.keys[source].transpose(2, 3), prompts.values[source]
        self.keys[rows, :, :, :shared] = keys[..., :shared]
        self.keys[rows, :, :, start : self.length] = keys[..., shared:]
        self.values[rows, :, :shared] = values[:, :, :shared]
        self.values[rows, :, start : self.length] = values[:, :, shared:]

    def move(self, *, sources: Sequence[int], targets: Sequence[int], staying: int) -> None:
        """Copy rows over others and keep the first `staying`."""
        for source, target in zip(sources, targets, strict=True):
            self.keys[target, ..., : self.length] = self.keys[source, ..., : self.length]
            self.values[target, :, : self.length] = self.values[source, :, : self.length]
        self.rows = staying

    def take(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was; one may be taken several times, and fewer than there are."""
        self.keys[: len(rows), ..., : self.length] = self.keys[rows, ..., : self.length]
        self.values[: len(rows), :, : self.length] = self.values[rows, :, : self.length]
        self.rows = len(rows)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Write the new token of every row: both [B, H, S]."""
        self.keys[: self.rows, :, :, self.length] = keys
        self.values[: self.rows, :, self.length] = values
        self.length += 1

    def attend(self, query: Tensor, *, bias: Tensor, scaling: float) -> Tensor:
        """query: [B, H * G, S], bias: [B, 1, 1, T] -> [B, H * G * S]."""
        keys, values = self.keys[: self.rows, ..., : self.length], self.values[: self.rows, :, : self.length]
        return attention(query, keys, values, bias=bias, scaling=scaling).flatten(1)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """transformers' attention gives the new token's keys and values and takes all of them back, without a copy."""
        self.append(key_states.squeeze(2), value_states.squeeze(2))
        keys, values = self.keys[: self.rows, ..., : self.length], self.values[: self.rows, :, : self.length]
        return keys.transpose(2, 3), values

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.values.shape[2]


def attention(query: Tensor, keys: Tensor, values: Tensor, *, bias: Tensor | None, scaling: float) -> Tensor:
    """query: [B, H * G, S], keys: [B, H, S, T], values: [B, H, T, S], bias: [B, 1, 1, T] -> [B, H, G, S].

    The softmax is taken in fp32 or wider.
    """
    grouped = query.view(len(query), keys.shape[1], -1, query.shape[-1])
    scores = torch.matmul(grouped, keys)
    if bias is None:
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * scaling
    else:
        scores = torch.add(bias, scores, alpha=scaling)
    return torch.matmul(scores.softmax(dim=-1).to(values.dtype), values)


def bias_of(mask: Tensor) -> Tensor:
    """0 where the mask is true and minus infinity elsewhere, in fp32."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """query: [B, H * G, 1, S], key and value: [B, H, T, S] -> [B, 1, H * G, S].

    What is not this plain case (several queries, a bias or a sink in the softmax) goes to transformers' function.
    """
    is_plain = query.shape[2] == 1 and all(kwargs.get(name) is None for name in ("softcap", "s_aux", "position_bias"))
    if not is_plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    out = attention(
        query.squeeze(2),
        key.transpose(2, 3),
        value,
        bias=None if attention_mask is None else bias_of(attention_mask),
        scaling=query.shape[3] ** -0.5 if scaling is None else scaling,
    )
    return out.reshape(len(query), 1, query.shape[1], -1), None


AttentionInterface.register(DECODING, _attend)
AttentionMaskInterface.register(DECODING, sdpa_mask)


@contextmanager
def decoding(model: Any, *, attention: str = DECODING) -> Iterator[None]:
    """Within it the model attends by a function of this module; on a GPU it keeps its own."""
    config = trunk(model).config
    usual = config._attn_implementation
    if next(model.parameters()).device.type == "cpu":
        config._attn_implementation = attention
    try:
        yield
    finally:
        config._attn_implementation = usual
