"""Virtual tokens before every prompt: the keys and values that prefix and prompt tuning learn."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What every row attends to before its own first token, in every layer.

    keys, values: one tensor a layer, (1, key heads, length, size), keys already rotated where the model rotates.
    The prompt's positions start at `shift`, the positions that the virtual tokens themselves take: `length` for
    prompt tuning, whose tokens have embeddings, and for prefix tuning in peft's way; 0 would leave them where they are.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    shift: int

    @classmethod
    def of(cls, cache: Any, *, shift: int | None = None) -> "Prefix":
        """What a forward pass over one row left in a transformers cache; positions go on after it by default."""
        keys = tuple(layer.keys for layer in cache.layers)
        values = tuple(layer.values for layer in cache.layers)
        return cls(keys=keys, values=values, shift=keys[0].shape[2] if shift is None else shift)

    @property
    def length(self) -> int:
        """How many virtual tokens there are."""
        return self.keys[0].shape[2]

    def cache(self, *, rows: int = 1) -> Cache:
        """A new transformers cache of so many rows that all hold it."""
        cache = Cache(layer_class_to_replicate=DynamicLayer)
        for index, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return cache
