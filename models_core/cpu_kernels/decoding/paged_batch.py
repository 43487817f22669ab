"""Rows in flight over compiled kernels: as `generation.batch.Batch`, with pages that rows share instead of padding.

Shapes: B rows, T positions in use, V vocabulary.
"""

from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

from models_core.cpu_kernels.compiler.matmul_tile import WIDTH
from models_core.cpu_kernels.decoding.model_weights import PROMPT_TOKENS, CompiledModel
from models_core.cpu_kernels.decoding.paged_cache import Lists, Pages
from models_core.generation.token_history import RowId, TokenHistory, shared_length
from models_core.generation.token_sampling import SamplingOptions, sample_next


class PagedBatch:
    """Row i belongs to `row_ids[i]`."""

    def __init__(
        self,
        network: CompiledModel,
        prompts: Sequence[Sequence[int]],
        row_ids: Sequence[RowId],
        *,
        max_new_tokens: int,
        sharing: bool = True,
    ) -> None:
        """`sharing`: what all prompts begin with is computed and held once, which may change the last bit of a row."""
        self.network = network
        self.row_ids = list(row_ids)
        members = list(dict.fromkeys(row_id.prompt for row_id in row_ids))
        own = [prompts[member] for member in members]
        slots = [members.index(row_id.prompt) for row_id in row_ids]
        self.history = TokenHistory(own, slots, max_new_tokens=max_new_tokens, device=network.embedding.device)
        self.lengths = numpy.array([len(own[slot]) for slot in slots], dtype=numpy.int64)
        same = shared_length(own) if sharing else 0
        network.reach(int(self.lengths.max()) + max_new_tokens)
        prompt_pages = sum(-(-(len(ids) - same) // WIDTH) for ids in own) + -(-same // WIDTH)
        response_pages = len(row_ids) * (-(-max_new_tokens // WIDTH) + 1)
        self.store = Pages(
            layers=len(network.layers), heads=network.key_heads, size=network.size, pages=prompt_pages + response_pages
        )
        entries = -(-int(self.lengths.max()) // WIDTH) + -(-max_new_tokens // WIDTH) + 3
        computed = Lists(self.store, rows=len(own), entries=entries)
        self.hidden = self._prefill(own, computed, same=same)[slots].contiguous()
        self.lists = Lists(self.store, rows=len(row_ids), entries=entries)
        for row, slot in enumerate(slots):
            self.lists.begin(row, computed, slot)
        computed.let_go()

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def states(self) -> Tensor:
        """The last hidden states, which the head reads: fp32 [B, D]."""
        return self.network.normalised(self.hidden)

    @property
    def logits(self) -> Tensor:
        """Logits of the next token: fp32 [B, V]."""
        return self.network.logits(self.hidden)

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, repeats included: [B, T]."""
        return self.history.token_ids

    def sample(self, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability: [B] both."""
        if options.is_plain:
            return self.network.sample(self.hidden, uniforms, temperature=options.temperature)
        return sample_next(self.logits, self.token_ids, uniforms, options)

    def _prefill(self, prompts: Sequence[Sequence[int]], lists: Lists, *, same: int) -> Tensor:
        """Compute each prompt once, end to end; returns what the last norm takes of their last tokens: [prompts, D]."""
        if same:
            first = Lists(self.store, rows=1, entries=lists.pages.shape[1])
            self._read([list(prompts[0][:same])], first, start=0)
            for row in range(len(prompts)):
                lists.begin(row, first, 0)
            first.let_go()
        return self._read([list(ids[same:]) for ids in prompts], lists, start=same)

    def _read(self, rows: Sequence[list[int]], lists: Lists, *, start: int) -> Tensor:
        """Append tokens to every list; returns the last ones' hidden states: [rows, D]."""
        tokens = torch.tensor([token for ids in rows for token in ids])
        owners = [row for row, ids in enumerate(rows) for _ in ids]
        seen = numpy.concatenate([numpy.arange(start + 1, start + len(ids) + 1) for ids in rows])
        rooms = [lists.extend(row, len(ids)) for row, ids in enumerate(rows)]
        pages, slots = (numpy.concatenate(part) for part in zip(*rooms, strict=True))
        ends = numpy.cumsum([len(ids) for ids in rows]) - 1
        last = torch.empty(len(rows), self.network.width)
        for begin in range(0, len(tokens), PROMPT_TOKENS):
            end = min(begin + PROMPT_TOKENS, len(tokens))
            hidden = self.network.forward(
                tokens[begin:end],
                store=self.store,
                lists=lists,
                owners=owners[begin:end],
                page_slots=(pages[begin:end], slots[begin:end]),
                seen=seen[begin:end].copy(),
            )
            ended = ((ends >= begin) & (ends < end)).nonzero()[0]
            last[ended] = hidden[ends[ended] - begin]
        return last

    def remove_finished(self, over: Sequence[bool]) -> Tensor:
        """Take out the rows that are over; returns the rows that go on: [B]."""
        order = torch.tensor([row for row, is_over in enumerate(over) if not is_over], dtype=torch.long)
        self.reindex(order)
        return order

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was: beams that go on from the same beginning."""
        chosen = rows.tolist()
        self.lists.reindex(chosen)
        self.row_ids = [self.row_ids[row] for row in chosen]
        self.lengths = self.lengths[chosen]
        self.hidden = self.hidden[rows]
        self.history.reindex(rows)

    def advance(self, tokens: Tensor) -> None:
        """Compute what follows `tokens` [B]: one decode step."""
        self.history.append(tokens)
        self.lengths = self.lengths + 1
        self.hidden = self.network.forward(
            tokens,
            store=self.store,
            lists=self.lists,
            owners=range(len(self)),
            page_slots=self.lists.advance(),
            seen=self.lengths,
        )
