"""The keys and values of rows in flight, written in place, and attention for one new token a row over them.

transformers' own cache grows by concatenation: every decode step copies all of it. And its attention kernels are made
for many queries; for one query a row, on a CPU, two plain matrix products take a third of the time (bf16, 64 rows, 120
slots: 0.6 ms a layer instead of 2.1). Rows attend in groups of like length, over their own slots alone.

Shapes: B rows, H key heads, G query heads a key head, S head size, T slots in use, C capacity.
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

from models_core.modeling.adapters.layers import trunk

DECODING = "hone_decoding"
BLOCK = 128
"""Slots for responses in a block: a product costs nearly the same for 10 slots as for 100.

torch copies the part in use before each product. That looks like a waste and is none: the copy streams, and the product
over what is then in the processor's cache takes less than half as long as over memory.
"""


class KeyValues(CacheLayerMixin):
    """One layer's part, in blocks of slots: the first for prompts and the beginnings of responses, then BLOCK each.

    keys and values: [B, H, slots, S] a block; the first `rows` rows and `length` slots are in use.
    Every row writes its next token to the same slot: prompts are padded on the left to one width. `groups` says where
    the rows' own slots begin: (first row, last row, first slot of any of them).
    """

    is_sliding = False

    def __init__(self, like: Any, *, rows: int, width: int, first: int) -> None:
        """`rows` prompts in `width` of the `first` slots. `like`: a layer of transformers with content."""
        super().__init__()
        self.rows = rows
        self.length = width
        self.slots = 0
        self.groups: Sequence[tuple[int, int, int]] = [(0, rows, 0)]
        self.like = like.keys[:0], like.values[:0]
        self.keys_blocks: list[Tensor] = []
        self.values_blocks: list[Tensor] = []
        self._grow(first)

    def _grow(self, slots: int) -> None:
        """One more block."""
        self.slots += slots
        # Zeros, not whatever the memory held: a masked slot is multiplied by weight 0, and 0 x NaN is NaN.
        for blocks, like in ((self.keys_blocks, self.like[0]), (self.values_blocks, self.like[1])):
            blocks.append(like.new_zeros(self.rows, like.shape[1], slots, like.shape[3]))

    def fill(self, prompts: Any, *, source: Tensor, rows: Tensor, columns: Tensor) -> None:
        """Copy computed prompts into rows, up against the prompts' width.

        columns: [prompts, T], which column of a prompt comes where; it takes the padding out of the middle.
        """
        for block, computed in ((self.keys_blocks[0], prompts.keys), (self.values_blocks[0], prompts.values)):
            ordered = computed.gather(2, columns[:, None, :, None].expand_as(computed))
            block[rows, :, self.length - columns.shape[1] : self.length] = ordered[source]

    def move(self, *, sources: Sequence[int], targets: Sequence[int], staying: int) -> None:
        """Copy rows over others and keep the first `staying`."""
        for block in (*self.keys_blocks, *self.values_blocks):
            for source, target in zip(sources, targets, strict=True):
                block[target] = block[source]
        self.rows = staying

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was; one may be taken several times, and fewer than there are."""
        for block in (*self.keys_blocks, *self.values_blocks):
            block[: len(rows)] = block[rows]
        self.rows = len(rows)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Write the new token of every row: both [B, H, S]."""
        if self.length == self.slots:
            self._grow(BLOCK)
        slot = self.length - self.slots  # from the last block's end
        self.keys_blocks[-1][: self.rows, :, slot] = keys
        self.values_blocks[-1][: self.rows, :, slot] = values
        self.length += 1

    def attend(self, query: Tensor, *, bias: Tensor, scaling: float) -> Tensor:
        """query: [B, H * G, S], bias: [B, 1, 1, T] -> [B, H * G * S]."""
        parts = []
        for first, last, start in self.groups:
            keys, values = self._in_use(first, last, start)
            some = bias[first:last, ..., start:]
            parts.append(attention(query[first:last], keys, values, bias=some, scaling=scaling))
        return torch.cat(parts).flatten(1)

    def _in_use(self, first: int, last: int, start: int) -> tuple[list[Tensor], list[Tensor]]:
        """Blocks of keys and of values of some rows, from a slot of the first block on, without empty slots."""
        both = []
        for blocks in (self.keys_blocks, self.values_blocks):
            parts = [block[first:last] for block in blocks]
            parts[-1] = parts[-1][:, :, : parts[-1].shape[2] - (self.slots - self.length)]
            parts[0] = parts[0][:, :, start:]
            both.append(parts)
        return both[0], both[1]

    def whole(self) -> tuple[Tensor, Tensor]:
        """Keys and values as transformers has them: [B, H, T, S] each."""
        keys, values = self._in_use(0, self.rows, 0)
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """transformers hands what this returns to `_attend`; to a model with attention of its own, the tensors."""
        self.append(key_states.squeeze(2), value_states.squeeze(2))
        return (self, self) if self.goes_to_attend else self.whole()

    goes_to_attend = False
    """Whether the model asks for its attention by name, so that `_attend` gets what `update` returns."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1  # it grows


def attention(
    query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], *, bias: Tensor | None, scaling: float
) -> Tensor:
    """query: [B, H * G, S], blocks of keys and of values: [B, H, slots, S] -> [B, H, G, S].

    bias: [B, 1, 1, T]. The softmax is taken in fp32 or wider.
    """
    grouped = query.view(len(query), keys[0].shape[1], -1, query.shape[-1])
    parts = [torch.matmul(grouped, block.contiguous().transpose(2, 3)) for block in keys]
    scores = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    if bias is None:
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * scaling
    else:
        scores = torch.add(bias, scores, alpha=scaling)
    weights = scores.softmax(dim=-1).to(values[0].dtype).split([block.shape[2] for block in values], dim=-1)
    out = torch.matmul(weights[0], values[0])
    for weight, block in zip(weights[1:], values[1:], strict=True):
        out = out + torch.matmul(weight, block)
    return out


def bias_of(mask: Tensor) -> Tensor:
    """0 where the mask is true and minus infinity elsewhere, in fp32."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Any,
    value: Any,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """query: [B, H * G, 1, S] -> [B, 1, H * G, S].

    What is not this plain case (several queries, a bias or a sink in the softmax) goes to transformers' function.
    """
    is_plain = query.shape[2] == 1 and all(kwargs.get(name) is None for name in ("softcap", "s_aux", "position_bias"))
    if not isinstance(key, KeyValues):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    if not is_plain:
        return sdpa_attention_forward(module, query, *key.whole(), attention_mask, scaling=scaling, **kwargs)
    mask = query.new_ones(1, 1, 1, key.length, dtype=torch.bool) if attention_mask is None else attention_mask
    out = key.attend(
        query.squeeze(2), bias=bias_of(mask), scaling=query.shape[3] ** -0.5 if scaling is None else scaling
    )
    return out.view(len(query), 1, query.shape[1], -1), None


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
