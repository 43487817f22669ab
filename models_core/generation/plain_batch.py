"""Rows in flight of a model that no fast way knows: its own forward, cache and positions, as `generate` has them.

Prompts are padded on the left to one width and decoded together. Where padding would change what a row is (a state in
place of keys and values, rotary positions that depend on the length), only rows of one length are. A model without a
cache that rows can be taken out of reads each row anew at every step.

Shapes: B rows, T positions in use, D width, V vocabulary.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions, sample_next
from models_core.modeling.families import needs_equal_lengths
from models_core.modeling.plain_forward import asked_by_head
from models_core.modeling.prefix import Prefix

CACHES = ("past_key_values", "cache_params")
"""Names under which models of transformers take and return what they remember."""


class PlainBatch:
    """As `batch.Batch`, over several streams of rows that are decoded together."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        row_ids: Sequence[RowId],
        *,
        prefix: Prefix | None = None,
    ) -> None:
        self.row_ids = list(row_ids)
        self.device = next(model.parameters()).device
        self.histories = [list(prompts[row_id.prompt]) for row_id in row_ids]
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(self.histories):
            by_length.setdefault(len(ids) if needs_equal_lengths(model) else 0, []).append(row)
        self.streams = [
            _Stream(model, rows, [self.histories[row] for row in rows], prefix=prefix) for rows in by_length.values()
        ]
        self._collect()

    def __len__(self) -> int:
        return len(self.row_ids)

    def _collect(self) -> None:
        """Where every row stands. states: what the head reads, [B, D]; logits: [B, V]."""
        order = torch.tensor([row for stream in self.streams for row in stream.rows], device=self.device).argsort()
        self.logits = torch.cat([stream.logits for stream in self.streams])[order]
        self.states = torch.cat([stream.states for stream in self.streams])[order]

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, the shorter ones filled with their first: [B, T]."""
        width = max(map(len, self.histories))
        filled = [[ids[0]] * (width - len(ids)) + ids for ids in self.histories]
        return torch.tensor(filled, device=self.device)

    def sample(self, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability: [B] both."""
        return sample_next(self.logits, self.token_ids, uniforms, options)

    def remove_finished(self, over: Sequence[bool]) -> Tensor:
        """Take out the rows that are over; returns the rows that go on: [B]."""
        going_on = torch.tensor([row for row, is_over in enumerate(over) if not is_over], device=self.device)
        self.reindex(going_on)
        return going_on

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was; one may be taken several times, and fewer than there are."""
        chosen = rows.tolist()
        for stream in self.streams:
            own = [(number, stream.rows.index(row)) for number, row in enumerate(chosen) if row in stream.rows]
            stream.reindex(rows=[number for number, _ in own], sources=[source for _, source in own])
        self.streams = [stream for stream in self.streams if stream.rows]
        self.row_ids = [self.row_ids[row] for row in chosen]
        self.histories = [list(self.histories[row]) for row in chosen]
        self._collect()

    def advance(self, tokens: Tensor) -> None:
        """Compute what follows `tokens` [B]: one decode step."""
        for history, token in zip(self.histories, tokens.tolist(), strict=True):
            history.append(token)
        for stream in self.streams:
            stream.advance(tokens[torch.tensor(stream.rows, device=self.device)])
        self._collect()


class _Stream:
    """Rows of one width: `rows[i]` is the number that row i has in the batch."""

    def __init__(
        self, model: Any, rows: Sequence[int], prompts: Sequence[Sequence[int]], *, prefix: Prefix | None
    ) -> None:
        self.model = model
        self.rows = list(rows)
        self.accepted = inspect.signature(model.forward).parameters
        device = next(model.parameters()).device
        width = max(map(len, prompts))
        self.ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts], device=device)
        self.mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
        self.virtual = 0
        self.logits: Tensor
        self.states: Tensor
        self.cache: Any = None
        if prefix is not None:
            self.virtual = prefix.length
            self.cache = prefix.cache(rows=len(rows))
            self.mask = torch.nn.functional.pad(self.mask, (self.virtual, 0), value=1)
        elif "past_key_values" in self.accepted and "cache_params" not in self.accepted:
            self.cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        self._forward(self.ids, is_first=True)

    def reindex(self, *, rows: Sequence[int], sources: Sequence[int]) -> None:
        self.rows = list(rows)
        chosen = torch.tensor(list(sources), dtype=torch.long, device=self.ids.device)
        self.ids, self.mask = self.ids[chosen], self.mask[chosen]
        self.logits, self.states = self.logits[chosen], self.states[chosen]
        if self.cache is not None and len(chosen):
            self.cache.reorder_cache(chosen)

    def advance(self, tokens: Tensor) -> None:
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        self._forward(self.ids if self.cache is None else tokens[:, None], is_first=False)

    def _forward(self, ids: Tensor, *, is_first: bool) -> None:
        """`ids`: what the model has not seen yet."""
        given: dict[str, Any] = {"attention_mask": self.mask, "use_cache": is_first or self.cache is not None}
        name = "cache_params" if "cache_params" in self.accepted else "past_key_values"
        if self.cache is not None:
            given[name] = self.cache
        if "logits_to_keep" in self.accepted:
            given["logits_to_keep"] = 1
        if "position_ids" in self.accepted:
            given["position_ids"] = (self.mask.cumsum(dim=1) - 1).masked_fill(self.mask == 0, 0)
        if self.virtual:
            given["position_ids"] = given["position_ids"][:, -ids.shape[1] :]
            inputs = {"input_ids": ids, **given}
        else:
            inputs = self.model.prepare_inputs_for_generation(
                self.ids,
                next_sequence_length=None if is_first or self.cache is None else 1,
                is_first_iteration=is_first,
                **given,
            )
        states: list[Tensor] = []
        listening = [
            part.register_forward_hook(lambda _, __, output: states.append(output[0][:, -1]))
            for part in asked_by_head(self.model)
        ]
        try:
            out = self.model(**inputs, return_dict=True)
        finally:
            for hook in listening:
                hook.remove()
        self.logits, self.states = out.logits[:, -1], states[-1]
        kept = next((getattr(out, each) for each in CACHES if getattr(out, each, None) is not None), None)
        self.cache = kept if isinstance(kept, Cache) and (is_first or self.cache is not None) else None
