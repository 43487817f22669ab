"""Attention within segments of one long row, with a backward pass of its own.

By plain matrix products: torch's attention kernel for processors takes three times as long, forwards and backwards, at
the lengths of chats. Scores are computed and normalised in fp32 (fp64 for an fp64 model); what is multiplied with them
is in the model's dtype. A kernel of models_core.cpu_kernels that keeps no weights may take its place.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models_core.modeling.operators import operator

QUERY_BLOCK = 256
"""Queries computed together: those of a block see no key behind it, which halves the work of a long segment."""


class Segment(NamedTuple):
    """Tokens `start` to `end` of the long row; they see the tokens of every range in `prefixes`, then themselves.

    Those ranges are other segments, whole.
    """

    start: int
    end: int
    prefixes: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def seen(self) -> int:
        """How many tokens its last one sees."""
        return self.size + sum(end - start for start, end in self.prefixes)


class _Block(NamedTuple):
    """Queries `start` to `end`, and where the keys they see lie; the last of the ranges ends with the queries."""

    start: int
    end: int
    seen: tuple[tuple[int, int], ...]


def _blocks(segments: Sequence[Segment]) -> Iterator[_Block]:
    for segment in segments:
        for start in range(segment.start, segment.end, QUERY_BLOCK):
            end = min(start + QUERY_BLOCK, segment.end)
            yield _Block(start, end, (*segment.prefixes, (segment.start, end)))


@operator
def segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    segments: Sequence[Segment],
    scale: float,
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Causal attention inside every segment: [1, heads, N, d] over [1, key heads, N, d] -> [1, N, heads, d].

    `prefix` holds keys and values [1, key heads, v, d] that every token sees before all others. Segments must not
    overlap and must cover the row.
    """
    keys, values = (None, None) if prefix is None else prefix
    output: Tensor = _SegmentAttention.apply(query, key, value, keys, values, tuple(_blocks(segments)), scale)
    return output


class _SegmentAttention(torch.autograd.Function):
    """softmax(Q K^T scale + mask) V for every block of queries; the weights are kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prefix_keys: Tensor | None,
        prefix_values: Tensor | None,
        blocks: tuple[_Block, ...],
        scale: float,
    ) -> Tensor:
        _, heads, tokens, width = query.shape
        key_heads = key.shape[1]
        wide = torch.promote_types(query.dtype, torch.float32)
        longest = max(block.end - block.start for block in blocks)
        hidden = torch.full((longest, longest), -torch.inf, dtype=wide, device=query.device).triu_(1)
        output = query.new_empty(1, tokens, heads, width)
        kept: list[Tensor] = []
        for block in blocks:
            rows = block.end - block.start
            q = torch.mul(
                query[0, :, block.start : block.end], scale, out=query.new_empty(heads, rows, width, dtype=wide)
            )
            k, v = _seen(key, prefix_keys, block), _seen(value, prefix_values, block)
            scores = torch.bmm(q.view(key_heads, -1, width), k.to(wide).transpose(1, 2))
            own = scores.view(key_heads, heads // key_heads, rows, -1)[..., -rows:]
            own += hidden[:rows, :rows]
            weights = scores.softmax(dim=-1).to(query.dtype)
            attended = torch.bmm(weights, v).view(heads, rows, width)
            output[0, block.start : block.end] = attended.transpose(0, 1)
            kept.append(weights)
        ctx.save_for_backward(
            query, key, value, prefix_keys, prefix_values, *(kept if any(ctx.needs_input_grad) else ())
        )
        ctx.blocks, ctx.scale = blocks, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, prefix_keys, prefix_values, *kept = ctx.saved_tensors
        _, heads, tokens, width = query.shape
        key_heads = key.shape[1]
        # Laid out as the projections made them, so that nothing is copied on the way back to those.
        to_query = query.new_empty(1, tokens, heads, width)
        to_key, to_value = (key.new_zeros(1, tokens, key_heads, width) for _ in range(2))
        to_prefix_keys, to_prefix_values = (
            None if first is None else torch.zeros_like(first) for first in (prefix_keys, prefix_values)
        )
        for block, weights in zip(ctx.blocks, kept, strict=True):
            rows = block.end - block.start
            back = gradient[0, block.start : block.end].transpose(0, 1).reshape(key_heads, -1, width)
            v = _seen(value, prefix_values, block)
            _spread(torch.bmm(weights.transpose(1, 2), back), to_value, to_prefix_values, block)
            to_scores = torch._softmax_backward_data(torch.bmm(back, v.transpose(1, 2)), weights, -1, weights.dtype)
            q, k = _rows_of(query, block, key_heads), _seen(key, prefix_keys, block)
            _spread(torch.bmm(to_scores.transpose(1, 2), q).mul_(ctx.scale), to_key, to_prefix_keys, block)
            to_rows = torch.bmm(to_scores, k).mul_(ctx.scale).view(heads, rows, width)
            to_query[0, block.start : block.end] = to_rows.transpose(0, 1)
        grads = (to_query.transpose(1, 2), to_key.transpose(1, 2), to_value.transpose(1, 2))
        return *grads, to_prefix_keys, to_prefix_values, None, None


def _rows_of(query: Tensor, block: _Block, key_heads: int) -> Tensor:
    """The block's queries, those that share a key head one below the other: [key heads, shared * rows, d]."""
    return query[0, :, block.start : block.end].reshape(key_heads, -1, query.shape[-1])


def _seen(tensor: Tensor, first: Tensor | None, block: _Block) -> Tensor:
    """The keys or values that the block sees: [key heads, seen, d]."""
    parts = [tensor[0, :, start:end] for start, end in block.seen]
    if first is not None:
        parts.insert(0, first[0])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _spread(gradient: Tensor, to_all: Tensor, to_first: Tensor | None, block: _Block) -> None:
    """Add the gradient of what a block saw to where it came from: [key heads, seen, d] into [1, N, key heads, d]."""
    sizes = [end - start for start, end in block.seen]
    if to_first is not None:
        sizes.insert(0, to_first.shape[2])
    parts = list(gradient.split(sizes, dim=1))
    if to_first is not None:
        to_first[0] += parts.pop(0)
    for (start, end), part in zip(block.seen, parts, strict=True):
        to_all[0, start:end] += part.transpose(0, 1)
