"""The keys and values of rows in flight, written in place, and attention for one new token a row over them.

transformers' own cache grows by concatenation: every decode step copies all of it. And its attention kernels are made
for many queries; for one query a row, on a CPU, two plain matrix products over keys stored by column take a third of
the time (bf16, 64 rows, 120 places: 0.6 ms a layer instead of 2.1).
"""

from collections.abc import Iterator
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
    """One layer's part. keys: (rows, heads, size, capacity), values: (rows, heads, capacity, size).

    The first `rows` rows and `length` places are in use.
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

    def move(self, *, sources: list[int], targets: list[int], staying: int) -> None:
        """Copy rows over others and keep the first `staying`."""
        for source, target in zip(sources, targets, strict=True):
            self.keys[target, ..., : self.length] = self.keys[source, ..., : self.length]
            self.values[target, :, : self.length] = self.values[source, :, : self.length]
        self.rows = staying

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """transformers' attention gives the new token's keys and values and takes all of them back, without a copy."""
        end = self.length + key_states.shape[2]
        self.keys[: self.rows, :, :, self.length : end] = key_states.transpose(2, 3)
        self.values[: self.rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[: self.rows, :, :, :end].transpose(2, 3), self.values[: self.rows, :, :end]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.values.shape[2]


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """query: (rows, heads, 1, size), key and value: (rows, key heads, places, size) -> (rows, 1, heads, size).

    What is not this plain case (several queries, a bias or a sink in the softmax) goes to transformers' function.
    """
    rows, heads, queries, size = query.shape
    is_plain = queries == 1 and all(kwargs.get(name) is None for name in ("softcap", "s_aux", "position_bias"))
    if not is_plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
    scores = torch.matmul(grouped, key.transpose(2, 3)).float() * (size**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, -torch.inf)
    weights = scores.softmax(dim=-1).to(value.dtype)
    return torch.matmul(weights, value).reshape(rows, 1, heads, -1), None


AttentionInterface.register(DECODING, _attend)
AttentionMaskInterface.register(DECODING, sdpa_mask)


@contextmanager
def decoding(model: Any) -> Iterator[None]:
    """Within it the model attends by the function above; on a GPU it keeps its own."""
    config = trunk(model).config
    usual = config._attn_implementation
    if next(model.parameters()).device.type == "cpu":
        config._attn_implementation = DECODING
    try:
        yield
    finally:
        config._attn_implementation = usual
