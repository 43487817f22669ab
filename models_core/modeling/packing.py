"""Rows of unequal length computed without padding, and a prompt computed once for all of its responses.

All rows of a micro-batch lie end to end in one long row. Everything in a transformer except attention treats tokens one
by one and does not notice; attention is cut into segments here. A segment looks at itself, causally, and at those that
it continues: its prompt, and what all rows begin with alike, such as the system turn of a chat template:

    tokens     shared    | prompt a | response a1 | response a2 | prompt b and its only response ...
    sees       itself      ..., a     ..., a, a1    ..., a, a2    ..., b

Where a model has learned virtual tokens, every segment sees those too, to its left.

K responses to one prompt cost P + K R tokens instead of K (P + R), with the same hidden states and gradients as
separate rows: position ids restart at every row, and a response's continue its prompt's. That holds for models whose
configuration is known through and through (models_core.modeling.families); the rows of every other model are computed
by its own forward, padded, and come back in the same order (models_core.modeling.plain_forward).
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from transformers import AttentionInterface

from models_core.contract.errors import BadInput
from models_core.modeling import families, forward_check, plain_forward, torch_attention
from models_core.modeling.adapters.soft_prompts import count as virtual_tokens
from models_core.modeling.adapters.soft_prompts import evaluating, learned_prefix
from models_core.modeling.devices import is_accelerator, to_device
from models_core.modeling.manual_autograd import install
from models_core.modeling.manual_autograd.segment_attention import Segment, segment_attention

PACKED_ATTENTION = "hone_packed"
COMPILED = "_attention_of_compiled_layers"
"""Attribute of a trunk whose layers are compiled: the name of the attention that they call."""

SMALL_ATTENTION = 1024 * 1024
"""Scores of a segment, tokens times tokens seen, up to which plain matrix products beat torch's attention kernel.
Compiled kernels beat it at any length."""
LEAST_SHARED = 8
"""Tokens that rows must begin with alike to have them computed once: fewer aren't worth a segment of their own."""
LEAST_CHECKED = 5
"""Tokens that a row has in the check of a model at the least."""
SHARING_COST = 16
"""Tokens that a prompt must save to be shared by its responses: a segment more costs about half as many."""


class Group(NamedTuple):
    """A prompt and the responses that continue it, as token ids. With no responses it is a plain row."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]] = ()

    @property
    def tokens(self) -> int:
        """What it costs to compute, its prompt once."""
        return len(self.prompt) + sum(map(len, self.responses))

    def cost(self, sharing: str) -> int:
        """What it costs to compute as `pack` would."""
        is_shared = _shares(sharing, self.prompt, self.responses)
        return self.tokens + (0 if is_shared else (len(self.responses) - 1) * len(self.prompt))


@dataclass(frozen=True)
class Layout:
    """Where one row is cut: segment i has `sizes[i]` tokens and continues the segments `prefixes[i]`, in order."""

    sizes: list[int]
    prefixes: list[tuple[int, ...]]

    @cached_property
    def seen(self) -> int:
        """How many tokens a token sees at the most, itself included: as many as the longest row has."""
        return max(segment.seen for segment in self.segments)

    @cached_property
    def visible_until(self) -> list[int] | None:
        """For every segment the first token behind all that continue it; None where others lie in between."""
        segments = self.segments
        until = [segment.end for segment in segments]
        for index, prefixes in enumerate(self.prefixes):
            for prefix in prefixes:
                until[prefix] = max(until[prefix], segments[index].end)
        for index, prefixes in enumerate(self.prefixes):
            start = segments[index].start
            if list(prefixes) != [earlier for earlier in range(index) if until[earlier] > start]:
                return None
        return until

    @cached_property
    def masks(self) -> dict[Any, Any]:
        """What models_core.modeling.torch_attention makes of it for every layer."""
        return {}

    @cached_property
    def segments(self) -> list[Segment]:
        """The segments by their positions in the long row."""
        ends = list(itertools.accumulate(self.sizes))
        spans = [(end - size, end) for size, end in zip(self.sizes, ends, strict=True)]
        return [
            Segment(start, end, tuple(spans[prefix] for prefix in prefixes))
            for (start, end), prefixes in zip(spans, self.prefixes, strict=True)
        ]


@dataclass(frozen=True)
class Packed:
    """Groups laid end to end: `ids` and `positions` are [1, N]; the rest are indices into the long row.

    Of the M response tokens, number j stands at `tokens[j]` and is predicted by the hidden state at `predictors[j]`:
    its predecessor, which for a response's first token is the prompt's last. The first `shared` tokens begin every
    group, and group g goes on at `starts[g]`.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    layout: Layout
    tokens: torch.Tensor  # [M]
    predictors: torch.Tensor  # [M]
    response_sizes: list[int]  # tokens of each response; they sum to M
    ends: torch.Tensor  # [responses], each one's last token
    shared: int
    starts: list[int]

    @property
    def response_ids(self) -> torch.Tensor:
        """The response tokens themselves: [M]."""
        return self.ids[0, self.tokens]

    def indices(self, groups: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Where token number `tokens[i]` of group `groups[i]` stands, counted over prompt and only response: [i]."""
        own = to_device(self.starts, tokens.device)[groups] + tokens - self.shared
        return torch.where(tokens < self.shared, tokens, own)


def pack(groups: Sequence[Group], *, device: torch.device | str = "cpu", sharing: str = "auto") -> Packed:
    """Lay groups end to end, each prompt followed by its responses, in the order given.

    What all prompts begin with alike comes first, once. A prompt that is shared is a segment that its responses
    continue; else each response is one plain causal segment with a copy of it, as it is where there is only one.
    `sharing` is "auto", where it pays, "always" or "never"; hidden states are the same.
    """
    shared = _shared_tokens(groups) if sharing != "never" else 0
    ids = list(groups[0].prompt[:shared]) if shared else []
    positions = list(range(shared))
    layout = Layout([shared], [()]) if shared else Layout([], [])
    shared_segment = (0,) if shared else ()
    tokens: list[int] = []
    predictors: list[int] = []
    starts: list[int] = []
    for group in groups:
        own, width = group.prompt[shared:], len(group.prompt)
        starts.append(len(ids))
        is_shared = _shares(sharing, own, group.responses)
        prefixes, copied = shared_segment, own
        if is_shared:
            prefixes, copied = (*shared_segment, len(layout.sizes)), own[:0]
            _add(layout, size=len(own), prefixes=shared_segment)
            ids += own
            positions += range(shared, width)
        prompt_end = len(ids) - 1
        for response in group.responses:
            start, size = len(ids) + len(copied), len(response)
            _add(layout, size=len(copied) + size, prefixes=prefixes)
            ids += copied
            ids += response
            positions += range(width - len(copied), width + size)
            tokens += range(start, start + size)
            predictors += [prompt_end if is_shared else start - 1, *range(start, start + size - 1)]
    response_sizes = [len(response) for group in groups for response in group.responses]
    ends = [tokens[end - 1] for end in itertools.accumulate(response_sizes)]
    return Packed(
        ids=to_device([ids], device),
        positions=to_device([positions], device),
        layout=layout,
        tokens=to_device(tokens, device, dtype=torch.long),
        predictors=to_device(predictors, device, dtype=torch.long),
        response_sizes=response_sizes,
        ends=to_device(ends, device, dtype=torch.long),
        shared=shared,
        starts=starts,
    )


def _shares(sharing: str, prompt: Sequence[int], responses: Sequence[Sequence[int]]) -> bool:
    """Whether a prompt is computed once for its responses: one without any must be, one with a single one need not."""
    if len(responses) < 2 or sharing == "never":
        return not responses
    return sharing == "always" or (len(responses) - 1) * len(prompt) >= SHARING_COST


def _shared_tokens(groups: Sequence[Group]) -> int:
    """How many tokens all prompts begin with alike, of which each keeps one at least; 0 where it doesn't pay."""
    if len(groups) < 2:
        return 0
    # What the least and the greatest of sorted rows share, all share.
    first, last = min(groups, key=_prompt).prompt, max(groups, key=_prompt).prompt
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = min(sum(1 for _ in alike), min(len(group.prompt) for group in groups) - 1)
    return shared if shared >= LEAST_SHARED else 0


def _prompt(group: Group) -> list[int]:
    return list(group.prompt)


def _add(layout: Layout, *, size: int, prefixes: tuple[int, ...]) -> None:
    layout.sizes.append(size)
    layout.prefixes.append(prefixes)


def hidden_states(trunk: Any, packed: Packed, *, rows: torch.Tensor | None = None) -> torch.Tensor:
    """The trunk's last hidden states of every token of the long row, or of those at the positions `rows`: [rows, D].

    Where only some are wanted, the last layer leaves the others out once all have been attended to. Where a model has
    learned virtual tokens, they take the first positions, and every token sees them.
    """
    check(trunk)
    if not is_packed(trunk, packed):
        forward_check.log_plain_forward(trunk)
        states = plain_forward.hidden_states(trunk, packed.ids, packed.layout.segments, prefix=learned_prefix(trunk))
        return states if rows is None else states[rows]
    return _of_long_row(trunk, packed, rows=rows)


def _of_long_row(trunk: Any, packed: Packed, *, rows: torch.Tensor | None = None) -> torch.Tensor:
    if not (is_compiled := hasattr(trunk, COMPILED)):
        install.install(trunk)  # first: virtual tokens are computed by the same layers, whoever comes first
    positions = packed.positions
    given: dict[str, Any] = {}
    is_left_to_layer = rows is not None and not is_compiled and install.chooses_rows(trunk)
    if is_left_to_layer:
        given["rows"] = rows
    prefix = learned_prefix(trunk)
    if prefix is not None:
        positions = positions + prefix.shift
        given["virtual"] = list(zip(prefix.keys, prefix.values, strict=True))
    with attention_by(trunk.config, getattr(trunk, COMPILED, PACKED_ATTENTION)):
        output = trunk(input_ids=packed.ids, position_ids=positions, use_cache=False, layout=packed.layout, **given)
    states = output.last_hidden_state[0]
    return states if rows is None or is_left_to_layer else states[rows]


def check(trunk: Any) -> None:
    """Hold packed rows against transformers' own forward, once for a trunk that may take them."""
    ways = families.fast_ways(trunk)
    if not ways.packed or "packed rows" in getattr(trunk, forward_check.FOUND, {}):
        return
    most = min(ways.window or max(forward_check.ROWS), _room(trunk))
    short = [ids[:most] for ids in forward_check.rows(trunk.config.vocab_size)]
    if most < LEAST_CHECKED:
        return
    groups = [Group(short[0][:-4], [short[0][-4:], short[0][-2:]]), *(Group(ids[:-2], [ids[-2:]]) for ids in short[1:])]
    packed = pack(groups, device=next(trunk.parameters()).device, sharing="always")
    segments, prefix = packed.layout.segments, learned_prefix(trunk)
    with evaluating(trunk):
        forward_check.hold(
            trunk,
            "packed rows",
            fast=lambda: _of_long_row(trunk, packed),
            plain=lambda: plain_forward.hidden_states(trunk, packed.ids, segments, prefix=prefix),
        )


def _room(trunk: Any) -> int:
    """Positions that the model has for a row's own tokens."""
    return (getattr(trunk.config, "max_position_embeddings", None) or 10**9) - virtual_tokens(trunk)


def is_packed(trunk: Any, packed: Packed) -> bool:
    """Whether a trunk computes these rows laid end to end; else each is a row of a padded batch."""
    return families.fast_ways(trunk).takes(packed.layout.seen + virtual_tokens(trunk))


def sharing_for(network: Any, sharing: str) -> str:
    """What `sharing` comes to for a network: a padded batch holds a copy of the prompt for every response."""
    return sharing if families.fast_ways(network).packed else "never"


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    layout: Layout,
    virtual: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within segments: query [1, heads, N, d], key and value [1, key heads, N, d] -> [1, N, heads, d]."""
    segments = layout.segments
    prefix = None if virtual is None else virtual[cast(int, module.layer_idx)]
    ahead = 0 if prefix is None else prefix[0].shape[2]
    seen = [ahead + segment.seen for segment in segments]
    if softcap is not None or s_aux is not None or (sliding_window is not None and max(seen) > sliding_window):
        raise BadInput(
            f"The attention of a {type(module).__name__} (a window, capped scores, sinks) is not one of packed rows."
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    largest = max(segment.size * width for segment, width in zip(segments, seen, strict=True))
    # The plain function keeps a matrix of weights; a kernel takes segments of any length.
    if not is_accelerator(query.device) and (
        largest <= SMALL_ATTENTION
        or segment_attention.uses_kernel(query, key, value, segments=segments, scale=scale, prefix=prefix)
    ):
        return segment_attention(query, key, value, segments=segments, scale=scale, prefix=prefix), None
    return torch_attention.attention(query, key, value, layout=layout, scale=scale, prefix=prefix), None


AttentionInterface.register(PACKED_ATTENTION, _attend)


@contextmanager
def attention_by(config: Any, name: str) -> Iterator[None]:
    """The trunk's attention replaced for one forward pass; sampling keeps its own. No mask is made for ours."""
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual
