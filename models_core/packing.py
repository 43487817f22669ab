"""Rows of unequal length computed without padding, and a prompt computed once for all of its responses.

All rows of a micro-batch lie end to end in one long row. Everything in a transformer except attention treats tokens one
by one and does not notice; attention is cut into segments here. A segment looks at itself, causally, and at the prompt
that it continues:

    tokens     prompt a | response a1 | response a2 | prompt b | response b1 ...
    sees       a          a, a1         a, a2         b          b, b1

K responses to one prompt cost P + K R tokens instead of K (P + R), with the same hidden states and gradients as
separate rows: position ids restart at every row, and a response's continue its prompt's. Works with every model of
transformers that takes its attention function from the registry and passes keyword arguments down to it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AttentionInterface

PACKED_ATTENTION = "hone_packed"

SMALL_ATTENTION = 512 * 512
"""Scores of a segment, tokens times tokens seen, up to which plain matrix products beat torch's attention kernel."""


class Group(NamedTuple):
    """A prompt and the responses that continue it, as token ids. With no responses it is a plain row."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]] = ()

    @property
    def tokens(self) -> int:
        """What it costs to compute."""
        return len(self.prompt) + sum(map(len, self.responses))


@dataclass(frozen=True)
class Layout:
    """Where one row is cut: segment i has `sizes[i]` tokens and continues segment `prefixes[i]`, or None.

    `masks[i]`, for a segment with a prefix, is [size, prefix size + size]: true where a token may look.
    """

    sizes: list[int]
    prefixes: list[int | None]
    masks: list[torch.Tensor | None]


@dataclass(frozen=True)
class Packed:
    """Groups laid end to end: `ids` and `positions` are [1, N]; the rest are indices into the long row.

    Of the M response tokens, number j stands at `tokens[j]` and is predicted by the hidden state at `predictors[j]`:
    its predecessor, which for a response's first token is the prompt's last.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    layout: Layout
    tokens: torch.Tensor  # [M]
    predictors: torch.Tensor  # [M]
    response_sizes: list[int]  # tokens of each response; they sum to M
    ends: torch.Tensor  # [responses], each one's last token

    @property
    def response_ids(self) -> torch.Tensor:
        """The response tokens themselves: [M]."""
        return self.ids[0, self.tokens]


def pack(groups: Sequence[Group], *, device: torch.device | str = "cpu") -> Packed:
    """Lay groups end to end, each prompt followed by its responses, in the order given.

    A prompt with a single response has nothing to share: both are one plain causal segment.
    """
    ids: list[int] = []
    positions: list[int] = []
    layout = Layout([], [], [])
    tokens: list[int] = []
    predictors: list[int] = []
    for group in groups:
        prompt, width = len(layout.sizes), len(group.prompt)
        prompt_end = len(ids) + width - 1
        single = len(group.responses) == 1
        if not single:
            _add(layout, size=width, prefix=None, mask=None)
        ids += group.prompt
        positions += range(width)
        for response in group.responses:
            start, size = len(ids), len(response)
            if single:
                _add(layout, size=width + size, prefix=None, mask=None)
            else:
                visible = torch.ones(size, width + size, dtype=torch.bool, device=device).tril(diagonal=width)
                _add(layout, size=size, prefix=prompt, mask=visible)
            ids += response
            positions += range(width, width + size)
            tokens += range(start, start + size)
            predictors += [prompt_end, *range(start, start + size - 1)]
    response_sizes = [len(response) for group in groups for response in group.responses]
    last = torch.tensor(response_sizes, dtype=torch.long).cumsum(0) - 1
    return Packed(
        ids=torch.tensor([ids], device=device),
        positions=torch.tensor([positions], device=device),
        layout=layout,
        tokens=torch.tensor(tokens, dtype=torch.long, device=device),
        predictors=torch.tensor(predictors, dtype=torch.long, device=device),
        response_sizes=response_sizes,
        ends=torch.tensor(tokens, dtype=torch.long, device=device)[last.to(device)],
    )


def _add(layout: Layout, *, size: int, prefix: int | None, mask: torch.Tensor | None) -> None:
    layout.sizes.append(size)
    layout.prefixes.append(prefix)
    layout.masks.append(mask)


def hidden_states(trunk: Any, packed: Packed) -> torch.Tensor:
    """The trunk's last hidden states of every token of the long row: [N, D]."""
    with _segmented(trunk.config):
        output = trunk(input_ids=packed.ids, position_ids=packed.positions, use_cache=False, layout=packed.layout)
    return output.last_hidden_state[0]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    layout: Layout,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within segments: query [1, heads, N, d], key and value [1, key heads, N, d] -> [1, N, heads, d].

    `split` and not slices: the backward pass of one split is one concatenation, that of every slice a row of zeros as
    long as the whole.
    """
    queries, keys, values = (tensor.split(layout.sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for index, (prefix, mask) in enumerate(zip(layout.prefixes, layout.masks, strict=True)):
        k, v = keys[index], values[index]
        if prefix is not None:
            k, v = torch.cat([keys[prefix], k], dim=2), torch.cat([values[prefix], v], dim=2)
        outputs.append(_attention(queries[index], k, v, mask, scaling=scaling))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, *, scaling: float | None
) -> torch.Tensor:
    """One segment's attention, causal where no mask is given: [1, heads, T, d] over [1, key heads, S, d].

    On a processor the backward pass of torch's kernel costs two to three times as much as plain products while the
    matrix of scores is small. They are computed in fp32, as the kernel does, so both agree within bf16's rounding.
    """
    heads, tokens, width = query.shape[1:]
    key_heads, seen = key.shape[1:3]
    if query.device.type != "cpu" or tokens * seen > SMALL_ATTENTION or query.dtype == torch.float64:
        grouped = heads != key_heads
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped
        )
    shared = heads // key_heads  # query heads that look at one key head
    scale = width**-0.5 if scaling is None else scaling
    if mask is None:
        mask = torch.ones(tokens, seen, dtype=torch.bool).tril()
    rows = (query.float() * scale).reshape(key_heads, shared * tokens, width)
    scores = torch.bmm(rows, key[0].float().transpose(1, 2)).view(key_heads, shared, tokens, seen)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1).to(query.dtype)
    return torch.bmm(weights.view(key_heads, shared * tokens, seen), value[0]).view(1, heads, tokens, width)


AttentionInterface.register(PACKED_ATTENTION, _attend)


@contextmanager
def _segmented(config: Any) -> Iterator[None]:
    """The trunk's attention replaced for one forward pass; sampling keeps its own. No mask is made for ours."""
    usual = config._attn_implementation
    config._attn_implementation = PACKED_ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = usual
