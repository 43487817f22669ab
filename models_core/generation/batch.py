"""Rows in flight: their prompts computed, their caches, and the step that brings every row one token further.

Shapes: B rows, T positions in use, V vocabulary. Prompts are padded on the left to one width, so that every row's next
token has the same slot.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from models_core.generation.cached_model import CachedModel, StepOutput
from models_core.generation.kv_cache import BLOCK, KeyValues, bias_of
from models_core.generation.token_history import RowId, TokenHistory, shared_length
from models_core.generation.token_sampling import SamplingOptions, sample_next
from models_core.modeling.families import has_window
from models_core.modeling.prefix import Prefix

PREFILL_TOKENS = 512
"""Prompt tokens computed in one forward pass, padding included: enough to be fast, few enough to pad little."""
GPU_PREFILL_TOKENS = 16_384
"""As many on a GPU, which 512 tokens leave idle most of the time."""
GROUP = 32
"""Rows that attend together, from the first slot that any of them sees on."""


class Batch:
    """Slot i of every tensor belongs to `row_ids[i]`.

    states: what the head reads, [B, D]; logits: [B, V], those of the next token; width: positions in use, the same in
    every row.
    """

    def __init__(
        self,
        network: CachedModel,
        prompts: Sequence[Sequence[int]],
        row_ids: Sequence[RowId],
        *,
        max_new_tokens: int,
        prefix: Prefix | None = None,
    ) -> None:
        self.network = network
        self.row_ids = list(row_ids)
        self.prefix = prefix
        device = network.device
        members = list(dict.fromkeys(row_id.prompt for row_id in row_ids))
        own = [prompts[member] for member in members]
        sources = [members.index(row_id.prompt) for row_id in row_ids]
        self.history = TokenHistory(own, sources, max_new_tokens=max_new_tokens, device=device)
        slots = torch.tensor(sources, device=device)
        lengths = torch.tensor([len(ids) for ids in own], device=device)[slots]
        virtual, self.shift = (prefix.length, prefix.shift) if prefix else (0, 0)
        # A window counts slots, and in a prompt batch there is padding between a shared beginning and a row's own.
        self.same = 0 if has_window(network.model.config) else shared_length(own)
        self.shared = virtual + self.same
        self.width = virtual + int(lengths.max())
        self.first_block = self.width + min(max_new_tokens, BLOCK)
        capacity = self.width + max_new_tokens
        columns = torch.arange(capacity, device=device)
        self.starts = self.width - virtual - lengths  # the first slot of each row
        seen = columns >= self.starts[:, None]
        self.mask, self.bias = seen.long(), bias_of(seen)
        self.positions = self.shift + lengths  # of the next token of each row
        self.layers: list[KeyValues] = []
        read = self._prefill(own, slots)
        self.states, self.logits = read.states[slots], read.logits[slots]
        self._group()

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, repeats included: [B, T]."""
        return self.history.token_ids

    def sample(self, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability: [B] both."""
        return sample_next(self.logits, self.token_ids, uniforms, options)

    def _prefill(self, prompts: Sequence[Sequence[int]], slots: Tensor) -> StepOutput:
        """Compute each prompt once, copy its keys and values to all its rows; returns where each prompt leads."""
        device = self.network.device
        prefix = self.prefix.cache() if self.prefix else Cache(layer_class_to_replicate=DynamicLayer)
        start = self.shift + self.same
        if self.same:
            ids = torch.tensor([list(prompts[0][: self.same])], device=device)
            positions = torch.arange(self.shift, start, device=device)[None]
            self.network.read(ids, ids.new_ones(1, self.shared), positions, prefix)
        own = [ids[self.same :] for ids in prompts]
        parts = []
        for first, last in _chunks([len(ids) for ids in own], tokens=_prefill_tokens(self.network)):
            chunk = own[first:last]
            width = max(map(len, chunk))
            ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in chunk], device=device)
            mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in chunk], device=device)
            positions = start + (mask.cumsum(dim=1) - 1).clamp(min=0)
            cache = _repeated(prefix, len(chunk))
            whole = torch.nn.functional.pad(mask, (self.shared, 0), value=1)
            columns_of = _contiguous(width - mask.sum(dim=1), shared=self.shared, width=self.shared + width)
            parts.append(self.network.read(ids, whole, positions, cache))
            rows = ((slots >= first) & (slots < last)).nonzero().squeeze(1)
            for index, layer in enumerate(cache.layers):
                if index == len(self.layers):
                    self.layers.append(KeyValues(layer, rows=len(slots), width=self.width, first=self.first_block))
                    self.layers[index].goes_to_attend = self.network.asks_for_attention
                self.layers[index].fill(layer, source=slots[rows] - first, rows=rows, columns=columns_of)
        return StepOutput(*map(torch.cat, zip(*parts, strict=True)))

    def remove_finished(self, over: Sequence[bool]) -> Tensor:
        """Take out the rows that are over; returns the slots that go on, in their new order: [B].

        The last rows that go on move into the slots that fall free: as few copies as possible.
        """
        staying = sum(not is_over for is_over in over)
        free = [slot for slot in range(staying) if over[slot]]
        moving = [slot for slot in range(staying, len(over)) if not over[slot]]
        kept = list(range(staying))
        for source, target in zip(moving, free, strict=True):
            kept[target] = source
        order = torch.tensor(kept, device=self.network.device, dtype=torch.long)
        for layer in self.layers:
            layer.move(sources=moving, targets=free, staying=staying)
        self._reorder(order)
        return order

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was: beams that go on from the same beginning."""
        for layer in self.layers:
            layer.reindex(rows)
        self._reorder(rows)

    def _reorder(self, rows: Tensor) -> None:
        self.row_ids = [self.row_ids[row] for row in rows.tolist()]
        self.mask, self.bias, self.positions = self.mask[rows], self.bias[rows], self.positions[rows]
        self.starts = self.starts[rows]
        self.history.reindex(rows)
        self._group()

    def _group(self) -> None:
        """Tell the layers from where on their rows see something: GROUP rows together."""
        starts = self.starts.tolist()
        groups = [
            (first, min(first + GROUP, len(starts)), min(starts[first : first + GROUP]))
            for first in range(0, len(starts), GROUP)
        ]
        for layer in self.layers:
            layer.groups = groups

    def advance(self, tokens: Tensor) -> None:
        """Compute what follows `tokens` [B]: one decode step."""
        self.history.append(tokens)
        self.width += 1
        mask, bias = self.mask[:, : self.width], self.bias[:, : self.width]
        self.states, self.logits = self.network.step(tokens, self.positions, mask, bias, self.layers)
        self.positions = self.positions + 1


def _contiguous(padding: Tensor, *, shared: int, width: int) -> Tensor:
    """Which slot comes where when the padding between the shared slots and a row's own moves to the left.

    padding: [prompts], how much there is -> [prompts, width]; what the padding itself becomes does not matter.
    """
    columns = torch.arange(width, device=padding.device)
    moved = columns - padding[:, None]
    return torch.where(moved < shared, moved.clamp(min=0), columns)


def _repeated(cache: Cache, rows: int) -> Cache:
    """A new cache that holds the one row of `cache` `rows` times."""
    repeated = Cache(layer_class_to_replicate=DynamicLayer)
    layer: Any
    for index, layer in enumerate(cache.layers):
        repeated.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
    return repeated


def _prefill_tokens(network: CachedModel) -> int:
    keeps_last_logits = network.fast is not None or bool(network.kept)
    return GPU_PREFILL_TOKENS if network.device.type == "cuda" and keeps_last_logits else PREFILL_TOKENS


def _chunks(lengths: Sequence[int], *, tokens: int) -> Iterator[tuple[int, int]]:
    """Runs of prompts, sorted by falling length, of at most `tokens` when padded to the first's width."""
    start = 0
    while start < len(lengths):
        stop = min(start + max(1, tokens // lengths[start]), len(lengths))
        yield start, stop
        start = stop
