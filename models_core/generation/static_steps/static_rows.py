"""The buffers of rows in flight, and the decode step that is computed over them without the host's looking.

Shapes: R rows that there is room for, B rows of a step, N new tokens at the most, T slots of the cache that a step
attends over, D width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models_core.generation.batch import Batch
from models_core.generation.kv_cache import bias_of
from models_core.generation.llama.torch_steps import TorchLlama
from models_core.generation.sampling_run import SamplingRun
from models_core.generation.static_steps.buckets import slot_bucket
from models_core.generation.static_steps.static_cache import StaticKeyValues, views
from models_core.generation.static_steps.step_runner import StepRunner
from models_core.generation.token_sampling import sample_next


class StaticRows:
    """Rows of one batch after another, in buffers that are made once.

    ids: the tokens so far, [R, N], of which `made` are there; numbers: their log-probabilities and values, [R, N, 2].
    """

    def __init__(self, like: Batch, run: SamplingRun, *, rows: int, runner: StepRunner) -> None:
        """Room for `rows` rows of prompts as long as those of `like`: later batches are no larger and no longer."""
        assert like.network.fast is not None
        self.network: TorchLlama = like.network.fast
        self.run, self.rows, self.runner = run, rows, runner
        # A value that the host reads back ends a capture.
        self.options = replace(run.options, device_only=True)
        limit, device = run.max_new_tokens, like.network.device
        # Whole buckets of slots: how many a step attends over doesn't depend on how long earlier prompts were.
        self.capacity = slot_bucket(like.width + limit)
        self.made, self.in_use, self.width = 0, 0, 0

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        self.tokens, self.positions, self.starts = zeros(rows), zeros(rows), zeros(rows)
        self.slot, self.number, self.place = zeros(1), zeros(1), zeros(1)  # of the next token: in cache, ids, history
        self.columns = torch.arange(self.capacity, device=device)
        self.uniforms = zeros(rows, limit, dtype=torch.float64)
        self.ids, self.numbers = zeros(rows, limit), zeros(rows, limit, 2, dtype=torch.float64)
        self.history = zeros(rows, like.history.ids.shape[1])  # of prompt and response, filled with the prompt's first
        self.layers = [StaticKeyValues(layer, rows=rows, capacity=self.capacity) for layer in like.layers]

    def has_room_for(self, batch: Batch, *, rows: int) -> bool:
        """Whether a batch can be taken over as `rows` rows."""
        is_long = batch.width + self.run.max_new_tokens > self.capacity
        return rows <= self.rows and not is_long and batch.history.ids.shape[1] <= self.history.shape[1]

    @property
    def cache_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def clear(self) -> None:
        """Forget the keys and values of earlier weights, which may not have been finite: 0 x NaN is NaN."""
        for layer in self.layers:
            layer.keys.zero_()
            layer.values.zero_()

    def begin(self, batch: Batch, *, rows: int) -> None:
        """Take over a batch whose prompts are computed, as `rows` rows, and sample the first token of each."""
        count = len(batch)
        self.in_use, self.made, self.width = rows, 1, batch.width
        for layer, computed in zip(self.layers, batch.layers, strict=True):
            layer.take(computed)
        self.positions[:count], self.starts[:count] = batch.positions, batch.starts
        history = batch.history.ids
        self.history[:count, : history.shape[1]] = history
        # What is left of a longer prompt would be penalised as a repetition.
        self.history[:count, history.shape[1] :] = history[:, -1:]
        self.uniforms[:count] = torch.stack([self.run.uniforms(row_id) for row_id in batch.row_ids]).to(
            self.uniforms.device
        )
        self.slot.fill_(batch.width)
        self.number.zero_()
        self.place.fill_(batch.history.width)
        # Rows that only fill the bucket are copies of the first: what they compute is finite.
        for each in (self.positions, self.starts, self.history, self.uniforms):
            each[count:rows] = each[:1]
        logits, states = batch.logits, batch.states
        filling = [*range(count), *[0] * (rows - count)]
        if rows > count:
            logits, states = logits[filling], states[filling]
        self._sample(states, logits)

    def advance(self) -> None:
        """One decode step: every row gets one more token."""
        slots = slot_bucket(self.width + self.made)
        rows = self.in_use
        self.runner((rows, slots), lambda: self._step(rows, slots))
        self.made += 1

    def compact(self, kept: Sequence[int], *, rows: int) -> list[int]:
        """Go on with the rows `kept` alone, in a bucket of `rows`; returns where each of them is now.

        Those beyond the bucket move to places in it that nobody keeps: as few copies as possible.
        """
        staying = {row for row in kept if row < rows}
        free = (row for row in range(rows) if row not in staying)
        placed = [row if row < rows else next(free) for row in kept]
        moved = [(row, place) for row, place in zip(kept, placed, strict=True) if row != place]
        if moved:
            sources, targets = torch.tensor(moved, device=self.ids.device).T
            for layer in self.layers:
                layer.move(sources, targets, slots=self.width + self.made)
            for each in (
                self.tokens, self.positions, self.starts, self.uniforms, self.ids, self.numbers, self.history,
            ):  # fmt: skip
                each[targets] = each[sources]
        self.in_use = rows
        return placed

    def _step(self, rows: int, slots: int) -> None:
        """Read the last token of each row and sample the next one: reads and writes buffers alone."""
        seen = (self.columns[:slots] >= self.starts[:rows, None]) & (self.columns[:slots] <= self.slot)
        caches = views(self.layers, rows=rows, slots=slots, slot=self.slot)
        states = self.network.step(self.tokens[:rows], self.positions[:rows], bias_of(seen)[:, None, None], caches)
        self.positions[:rows] += 1
        self.slot += 1
        self._sample(states, self.network.head(states))

    def _sample(self, states: Tensor, logits: Tensor) -> None:
        """The next token of each row, what was said of it, and where the one after that comes: [B, D], [B, V]."""
        rows = len(logits)
        uniforms = self.uniforms[:rows].index_select(1, self.number).squeeze(1)
        tokens, logprobs = sample_next(logits, self.history[:rows], uniforms, self.options)
        self.tokens[:rows] = tokens
        self.ids[:rows].index_copy_(1, self.number, tokens[:, None])
        values = self.run.value_head(states) if self.run.value_head is not None else torch.zeros_like(logprobs)
        said = torch.stack([logprobs.double(), values.double()], dim=1)
        self.numbers[:rows].index_copy_(1, self.number, said[:, None])
        self.history[:rows].index_copy_(1, self.place, tokens[:, None])
        self.number += 1
        self.place += 1
