"""Sampling responses from a language model: batched, with a key-value cache that is written in place.

Where the time of a plain loop goes, and what is done about it here: a prompt is computed once for all its samples, and
what all prompts begin with once for all of them; keys and values are written in place; a finished row leaves the batch;
tokens are drawn from the cumulative sum, because `torch.multinomial` over fifty thousand tokens costs as much as half a
decode step.

Each row draws with numbers of its own, seeded by (seed, prompt, sample): a response depends neither on the batch
size nor on its neighbours beyond the rounding of the arithmetic.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from models_core.decoding.beginning import Beginning
from models_core.key_values import KeyValues, decoding
from models_core.language_models import context_length
from models_core.stopping import Stopped, StopSignal

PREFILL_TOKENS = 1024
"""Prompt tokens computed in one forward pass, padding included: enough to be fast, few enough to pad little."""
SHORTEST_SHARED = 8
"""A beginning that all prompts share (a system turn) is computed once if it has this many tokens."""
BLOCK = 256
"""Probabilities are searched in blocks of this many tokens."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One response. `ids` ends with the stop id where `finish_reason` is "stop"; else the limit cut it ("length").

    `logprobs` has one entry an id: its log-probability under the distribution it was drawn from, temperature, top-k and
    top-p included (for greedy choice, temperature 0: under the model's own).
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str


@dataclass(kw_only=True)
class _Row:
    """A response in the making: its prompt's index, its number among the prompt's samples, and its tokens so far.

    `uniforms` holds the number in [0, 1) that each of its tokens is drawn with.
    """

    prompt: int
    number: int
    uniforms: NDArray[numpy.float64]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def finished(self, reason: str) -> Sample:
        return Sample(ids=tuple(self.ids), logprobs=tuple(self.logprobs), finish_reason=reason)


def sample(
    model: Any,
    prompt_ids: Sequence[Sequence[int]],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop_ids: Sequence[int],
    seed: int,
    batch_size: int,
    beginning: Beginning | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: StopSignal | None = None,
) -> list[list[Sample]]:
    """`samples` responses to each prompt, in order. `batch_size` counts responses in flight.

    `beginning`: virtual tokens that all rows attend to before their prompts.

    `progress` is called with responses done and in all. Raises Stopped when `stop` is requested, between two tokens,
    and ValueError for a prompt that is empty or leaves no room for its answer.
    """
    room = context_length(model) - max_new_tokens - (beginning.shift if beginning else 0)
    for ids in prompt_ids:
        if not 0 < len(ids) <= room:
            raise ValueError(f"a prompt of {len(ids)} tokens, where 1 to {room} fit beside the answer")
    done: list[list[Sample | None]] = [[None] * samples for _ in prompt_ids]
    finished = 0
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), decoding(model):
            for places in _batches(prompt_ids, samples=samples, batch_size=batch_size):
                rows = [
                    _Row(prompt=prompt, number=number, uniforms=_uniforms(seed, prompt, number, max_new_tokens))
                    for prompt, number in places
                ]
                batch = _Batch(model, prompt_ids, rows, max_new_tokens=max_new_tokens, beginning=beginning)
                for step in range(max_new_tokens):
                    if stop is not None and stop.requested:
                        raise Stopped
                    uniforms = torch.tensor([row.uniforms[step] for row in batch.rows], device=batch.logits.device)
                    tokens, logprobs = draw(batch.logits, uniforms, temperature=temperature, top_k=top_k, top_p=top_p)
                    tokens, ended = batch.append(tokens, logprobs, stop_ids=stop_ids, limit=max_new_tokens)
                    for row in ended:
                        reason = "stop" if row.ids[-1] in stop_ids else "length"
                        done[row.prompt][row.number] = row.finished(reason)
                    finished += len(ended)
                    if progress is not None and ended:
                        progress(finished, samples * len(prompt_ids))
                    if not batch.rows:
                        break
                    batch.advance(tokens)
    finally:
        model.train(was_training)
    return cast(list[list[Sample]], done)


def _batches(prompts: Sequence[Sequence[int]], *, samples: int, batch_size: int) -> Iterator[list[tuple[int, int]]]:
    """(prompt, number) of the responses to sample together: prompts of like length, longest first.

    The longest first, so that a batch too large for the memory fails at once. A prompt's samples stay together while
    they fit, because they share its prefill.
    """
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    places = [(prompt, number) for prompt in order for number in range(samples)]
    size = batch_size - batch_size % samples if samples <= batch_size else batch_size
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _uniforms(seed: int, prompt: int, number: int, length: int) -> NDArray[numpy.float64]:
    return numpy.random.default_rng([seed, prompt, number]).random(length)


def draw(
    logits: Tensor, uniforms: Tensor, *, temperature: float, top_k: int = 0, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Tokens drawn by inverting the cumulative distribution at `uniforms`, and their log-probabilities.

    logits: (rows, vocabulary); uniforms: (rows,) in [0, 1). Temperature 0 takes the likeliest token.
    """
    logits = logits.float()
    if temperature == 0:
        logprobs, tokens = torch.log_softmax(logits, dim=-1).max(dim=-1)
        return tokens, logprobs
    weights = _filtered(logits / temperature, top_k=top_k, top_p=top_p).softmax(dim=-1)
    # Two searches, for the block and within it: a sum over blocks is ten times cheaper than running sums of everything.
    padded = torch.nn.functional.pad(weights, (0, -weights.shape[1] % BLOCK))
    blocks = padded.view(len(padded), -1, BLOCK)
    sums = blocks.sum(dim=-1)
    block, rest = _search(sums, uniforms.to(sums.dtype)[:, None] * sums.sum(dim=-1, keepdim=True))
    inside, _ = _search(blocks[torch.arange(len(blocks), device=blocks.device), block.squeeze(1)], rest)
    tokens = block * BLOCK + inside
    return tokens.squeeze(1), weights.gather(1, tokens).log().squeeze(1)


def _search(weights: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's running sum passes its aim, and how far into that place the aim is: both (rows, 1).

    Never a place of weight 0: the aim is kept within [0, total) against rounding.
    """
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    aims = aims.clamp(min=0).minimum(torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, aims, right=True)
    return found, aims - (cumulative.gather(1, found) - weights.gather(1, found))


def _filtered(logits: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Minus infinity outside the `top_k` likeliest tokens and the smallest set of them that holds `top_p`.

    Both on the same distribution, top-k first. The likeliest token always stays, and so do those tied with the last.
    """
    if 0 < top_k < logits.shape[1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1.0:
        ordered = logits.sort(dim=-1, descending=True).values
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        kept = (before < top_p).sum(dim=-1, keepdim=True).clamp(min=1)
        logits = logits.masked_fill(logits < ordered.gather(1, kept - 1), -torch.inf)
    return logits


class _Batch:
    """Responses in flight. Slot i of every tensor belongs to `rows[i]`; prompts are padded on the left to one width."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        rows: list[_Row],
        *,
        max_new_tokens: int,
        beginning: Beginning | None = None,
    ) -> None:
        self.model = model
        self.beginning = beginning
        self.rows = rows
        device = next(model.parameters()).device
        members = list(dict.fromkeys(row.prompt for row in rows))
        slots = torch.tensor([members.index(row.prompt) for row in rows], device=device)
        lengths = torch.tensor([len(prompts[row.prompt]) for row in rows], device=device)
        virtual = beginning.length if beginning else 0
        self.shift = beginning.shift if beginning else 0
        self.width = virtual + int(lengths.max())
        capacity = self.width + max_new_tokens
        self.same = _shared_beginning([prompts[member] for member in members])
        self.shared = virtual + self.same
        places = torch.arange(capacity, device=device)
        own = lengths[:, None] - self.same
        self.mask = ((places < self.shared) | (places >= self.width - own)).long()  # (rows, capacity)
        self.positions = self.shift + lengths  # of the next token of each row
        self.layers: list[KeyValues] = []
        self.logits = self._prefill([prompts[member] for member in members], slots, capacity, device)[slots]

    def _prefill(self, prompts: list[Sequence[int]], slots: Tensor, capacity: int, device: Any) -> Tensor:
        """Compute each prompt once, copy its keys and values to all its rows; returns logits (prompts, vocabulary)."""
        beginning = self.beginning.cache() if self.beginning else Cache(layer_class_to_replicate=DynamicLayer)
        if self.same:
            ids = torch.tensor([prompts[0][: self.same]], device=device)
            positions = torch.arange(self.shift, self.shift + self.same, device=device)
            self._forward(ids, torch.ones(1, self.shared, device=device).long(), positions[None], beginning)
        own = [ids[self.same :] for ids in prompts]
        logits = []
        for start, stop in _chunks([len(ids) for ids in own]):
            chunk = own[start:stop]
            width = max(map(len, chunk))
            ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in chunk], device=device)
            mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in chunk], device=device)
            positions = self.shift + self.same + (mask.cumsum(dim=1) - 1).clamp(min=0)
            cache = _repeated(beginning, len(chunk))
            whole = torch.nn.functional.pad(mask, (self.shared, 0), value=1)
            logits.append(self._forward(ids, whole, positions, cache))
            rows = ((slots >= start) & (slots < stop)).nonzero().squeeze(1)
            for index, layer in enumerate(cache.layers):
                if index == len(self.layers):
                    self.layers.append(KeyValues(layer, rows=len(slots), capacity=capacity, width=self.width))
                self.layers[index].fill(layer, source=slots[rows] - start, rows=rows, shared=self.shared)
        return torch.cat(logits)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Logits after the last column: (rows, vocabulary)."""
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1]

    def append(
        self, tokens: Tensor, logprobs: Tensor, *, stop_ids: Sequence[int], limit: int
    ) -> tuple[Tensor, list[_Row]]:
        """Add a token to every row. Rows that end by it leave; returns the tokens of those that stay, and the ended."""
        for row, token, logprob in zip(self.rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
        is_over = [row.ids[-1] in stop_ids or len(row.ids) == limit for row in self.rows]
        ended = [row for row, over in zip(self.rows, is_over, strict=True) if over]
        if not ended:
            return tokens, []
        # The last rows that go on move into the slots that fall free: as few copies as possible.
        staying = len(self.rows) - len(ended)
        free = [slot for slot in range(staying) if is_over[slot]]
        moving = [slot for slot in range(staying, len(self.rows)) if not is_over[slot]]
        for source, target in zip(moving, free, strict=True):
            self.rows[target] = self.rows[source]
        del self.rows[staying:]
        for tensor in (tokens, self.mask, self.positions):
            tensor[free] = tensor[moving]
        for layer in self.layers:
            layer.move(sources=moving, targets=free, staying=staying)
        self.mask, self.positions = self.mask[:staying], self.positions[:staying]
        return tokens[:staying], ended

    def advance(self, tokens: Tensor) -> None:
        """Compute the logits that follow `tokens`: one decode step."""
        self.width += 1
        mask = self.mask[:, : self.width]
        self.logits = self._forward(tokens[:, None], mask, self.positions[:, None], Cache(layers=list(self.layers)))
        self.positions = self.positions + 1


def _shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own; 0 where that is hardly any."""
    shortest = min(map(len, prompts))
    same = next((place for place in range(shortest) if len({ids[place] for ids in prompts}) > 1), shortest)
    same = min(same, shortest - 1)
    return same if len(prompts) > 1 and same >= SHORTEST_SHARED else 0


def _repeated(cache: Cache, rows: int) -> Cache:
    """A new cache that holds the one row of `cache` `rows` times."""
    repeated = Cache(layer_class_to_replicate=DynamicLayer)
    layer: Any
    for index, layer in enumerate(cache.layers):
        repeated.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
    return repeated


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of prompts, sorted by falling length, that fit into one prefill pass when padded to the first's width."""
    start = 0
    while start < len(lengths):
        stop = min(start + max(1, PREFILL_TOKENS // lengths[start]), len(lengths))
        yield start, stop
        start = stop
