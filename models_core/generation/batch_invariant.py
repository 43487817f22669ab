"""Rows that come out the same to the bit whatever batch they are in: slower, for when that is what counts.

Rounding depends on shapes, so no shape here depends on the neighbours: each prompt is computed alone, every step has
the same number of slots, empty ones included, and each row attends alone over its own keys and values.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from models_core.contract.errors import BadInput
from models_core.generation.cached_model import CachedModel
from models_core.generation.kv_cache import attention
from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions, sample_next
from models_core.modeling.families import fast_ways, has_window
from models_core.modeling.prefix import Prefix

ROW_BY_ROW = "hone_row_by_row"


def check(model: Any) -> None:
    """Raise BadInput for a model whose attention cannot be taken row by row."""
    if next(model.parameters()).device.type != "cpu":
        raise BadInput("batch_invariant=true works on the CPU alone; take --device cpu.")
    if not fast_ways(model).decoding or has_window(model.config):
        raise BadInput(
            f"batch_invariant=true does not work for a {type(model).__name__}: its attention has a form of its own."
        )


class RowKeyValues(CacheLayerMixin):
    """One layer's part: for every slot keys and values [heads, capacity, size], or None.

    The capacity is the row's own: its prompt and its longest response.
    """

    is_sliding = False

    def __init__(self, prompts: Sequence[Any], slots: Sequence[int], *, size: int, max_new_tokens: int) -> None:
        """Row i begins with a copy of `prompts[slots[i]]`, a layer of transformers; the other slots stay empty."""
        super().__init__()
        self.rows: list[tuple[Tensor, Tensor] | None] = [None] * size
        self.lengths = [0] * size
        for slot, prompt in enumerate(slots):
            keys, values = prompts[prompt].keys[0], prompts[prompt].values[0]
            self.lengths[slot] = values.shape[1]
            self.rows[slot] = (
                torch.nn.functional.pad(keys, (0, 0, 0, max_new_tokens)),
                torch.nn.functional.pad(values, (0, 0, 0, max_new_tokens)),
            )

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Write the new token of every row: both [slots, heads, size]."""
        for slot, row in enumerate(self.rows):
            if row is not None:
                row[0][:, self.lengths[slot]] = keys[slot]
                row[1][:, self.lengths[slot]] = values[slot]
                self.lengths[slot] += 1

    def attend(self, query: Tensor, *, bias: Tensor | None, scaling: float) -> Tensor:
        """query: [slots, query heads, size] -> [slots, query heads x size], zeros for an empty slot."""
        out = torch.zeros(len(query), query.shape[1] * query.shape[2], dtype=query.dtype)
        for slot, row in enumerate(self.rows):
            if row is not None:
                keys, values = (part[None, :, : self.lengths[slot]] for part in row)
                one = query[slot : slot + 1].contiguous()
                out[slot] = attention(one, [keys], [values], bias=None, scaling=scaling).flatten()
        return out

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """transformers hands what this returns to the attention function below."""
        self.append(key_states.squeeze(2), value_states.squeeze(2))
        return self, self

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return max(self.lengths) + query_length, 0

    def get_seq_length(self) -> int:
        return max(self.lengths)

    def get_max_length(self) -> int:
        return max(row[1].shape[1] for row in self.rows if row is not None)


class InvariantBatch:
    """As `batch.Batch`, in a fixed number of slots: a row that is over leaves an empty one."""

    def __init__(
        self,
        network: CachedModel,
        prompts: Sequence[Sequence[int]],
        row_ids: Sequence[RowId],
        *,
        max_new_tokens: int,
        size: int,
        prefix: Prefix | None = None,
    ) -> None:
        self.network = network
        self.row_ids = list(row_ids)
        self.size = size
        self.slots = torch.arange(len(row_ids))  # of the rows in flight
        members = list(dict.fromkeys(row_id.prompt for row_id in row_ids))
        start, shift = (prefix.length, prefix.shift) if prefix else (0, 0)
        parts, caches = [], []
        for member in members:
            cache = prefix.cache() if prefix else Cache(layer_class_to_replicate=DynamicLayer)
            ids = torch.tensor([list(prompts[member])])
            whole = ids.new_ones(1, start + ids.shape[1])
            parts.append(network.read(ids, whole, shift + torch.arange(ids.shape[1])[None], cache))
            caches.append(cache)
        sources = [members.index(row_id.prompt) for row_id in row_ids]
        self.layers = [
            RowKeyValues([cache.layers[index] for cache in caches], sources, size=size, max_new_tokens=max_new_tokens)
            for index in range(len(caches[0].layers))
        ]
        lengths = [len(prompts[row_id.prompt]) for row_id in row_ids]
        self.positions = torch.zeros(size, dtype=torch.long)
        self.positions[: len(row_ids)] = shift + torch.tensor(lengths)
        self.histories = [list(prompts[row_id.prompt]) for row_id in row_ids]
        self.states, self.logits = (torch.cat(part)[sources] for part in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, the shorter ones filled with their first: [B, T]."""
        width = max(map(len, self.histories))
        return torch.tensor([ids + [ids[0]] * (width - len(ids)) for ids in self.histories])

    def sample(self, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability: [B] both."""
        return sample_next(self.logits, self.token_ids, uniforms, options)

    def remove_finished(self, over: Sequence[bool]) -> Tensor:
        """Empty the slots of rows that are over; returns the rows that go on: [B]."""
        staying = torch.tensor([row for row, is_over in enumerate(over) if not is_over], dtype=torch.long)
        for row, is_over in enumerate(over):
            if is_over:
                for layer in self.layers:
                    layer.rows[int(self.slots[row])] = None
        self.row_ids = [self.row_ids[row] for row in staying.tolist()]
        self.histories = [self.histories[row] for row in staying.tolist()]
        self.slots = self.slots[staying]
        return staying

    def advance(self, tokens: Tensor) -> None:
        """Compute what follows `tokens` [B]."""
        for history, token in zip(self.histories, tokens.tolist(), strict=True):
            history.append(token)
        filled = torch.zeros(self.size, dtype=torch.long)
        filled[self.slots] = tokens
        width = self.layers[0].get_seq_length() + 1
        mask = torch.ones(self.size, width, dtype=torch.long)
        whole = self.network.step(filled, self.positions, mask, mask, self.layers)
        self.states, self.logits = (part[self.slots] for part in whole)
        self.positions[self.slots] += 1


def _attend(
    module: torch.nn.Module, query: Tensor, key: Any, value: Any, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """query: [slots, heads, 1, size] -> [slots, 1, heads, size]; a prompt goes to transformers' function."""
    if not isinstance(key, RowKeyValues):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    scaling = kwargs.get("scaling")
    out = key.attend(query.squeeze(2), bias=None, scaling=query.shape[3] ** -0.5 if scaling is None else scaling)
    return out.view(len(query), 1, query.shape[1], query.shape[3]), None


AttentionInterface.register(ROW_BY_ROW, _attend)
AttentionMaskInterface.register(ROW_BY_ROW, sdpa_mask)
