"""Keys and values of rows in flight that stay at one place in memory: a step is given views of what it computes.

Shapes: R rows and C slots that there is room for, H key heads, G query heads a key head, S head size; of a step B rows
and T slots.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models_core.generation.kv_cache import KeyValues


class StaticKeyValues:
    """One layer's part: keys and values, [R, H, C, S] each."""

    def __init__(self, like: KeyValues, *, rows: int, capacity: int) -> None:
        keys, values = like.like
        # Zeros: a row or slot that was never written is multiplied by weight 0, and 0 x NaN is NaN.
        self.keys = keys.new_zeros(rows, keys.shape[1], capacity, keys.shape[3])
        self.values = values.new_zeros(rows, values.shape[1], capacity, values.shape[3])

    def take(self, layer: KeyValues) -> None:
        """Copy what a prefill has computed into the first rows and slots; the layer gives up its own."""
        keys, values = layer.whole()
        self.keys[: len(keys), :, : keys.shape[2]] = keys
        self.values[: len(values), :, : values.shape[2]] = values
        layer.keys_blocks.clear()
        layer.values_blocks.clear()

    def move(self, sources: Tensor, targets: Tensor, *, slots: int) -> None:
        """Copy rows over others."""
        for each in (self.keys, self.values):
            each[targets, :, :slots] = each[sources, :, :slots]

    def view(self, *, rows: int, slots: int, slot: Tensor) -> "StepKeyValues":
        """What a step of B rows and T slots computes over; slot: where it writes, [1]."""
        return StepKeyValues(self.keys[:rows, :, :slots], self.values[:rows, :, :slots], slot)


class StepKeyValues:
    """A `llama.torch_steps.LayerCache` in place: keys and values [B, H, T, S]; the slot is a tensor, not a number."""

    def __init__(self, keys: Tensor, values: Tensor, slot: Tensor) -> None:
        self.keys, self.values, self.slot = keys, values, slot

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Write the new token of every row: both [B, H, S]."""
        self.keys.index_copy_(2, self.slot, keys[:, :, None])
        self.values.index_copy_(2, self.slot, values[:, :, None])

    def attend(self, query: Tensor, *, bias: Tensor, scaling: float) -> Tensor:
        """query: [B, H * G, S], bias: [B, 1, 1, T] in fp32 -> [B, H * G * S]."""
        grouped = query.view(len(query), self.keys.shape[1], -1, query.shape[-1])
        scores = torch.add(bias, torch.matmul(grouped, self.keys.transpose(2, 3)), alpha=scaling)
        return torch.matmul(scores.softmax(dim=-1).to(self.values.dtype), self.values).flatten(1)


def views(layers: Sequence[StaticKeyValues], *, rows: int, slots: int, slot: Tensor) -> list[StepKeyValues]:
    return [layer.view(rows=rows, slots=slots, slot=slot) for layer in layers]
