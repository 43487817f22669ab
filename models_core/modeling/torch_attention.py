"""Attention within segments by torch's own kernels, which keep no matrix of scores: for GPUs and for long segments.

A GPU takes FlexAttention (Dong et al. 2024, 2412.05496), one kernel for all segments of the long row. Only it knows
segments that continue others: attention of variable length, by nested tensors too, is causal within each segment and
would need a copy of the prompt for every response; the masks of scaled_dot_product_attention are matrices of N^2. Which
tokens see which is one number for each token: that of the first token behind all that continue its segment. A token
sees those before it whose number is greater than its own place. So the mask's blocks are known without making it.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from models_core.contract.runs import processes
from models_core.modeling.devices import is_accelerator, to_device

if TYPE_CHECKING:
    from models_core.modeling.packing import Layout

BLOCK = 128
"""Queries and keys of a block of the mask, as FlexAttention has them."""
LEAST_WIDTH = 16
"""Numbers that a head has at the least for FlexAttention's kernels on a GPU."""

Prefix = tuple[Tensor, Tensor]


def attention(
    query: Tensor, key: Tensor, value: Tensor, *, layout: "Layout", scale: float, prefix: Prefix | None = None
) -> Tensor:
    """Causal attention inside every segment: [1, heads, N, d] over [1, key heads, N, d] -> [1, N, heads, d].

    `prefix` holds keys and values [1, key heads, v, d] that every token sees before all others.
    """
    if is_accelerator(query.device) and layout.visible_until is not None and _takes_blocks(query, key):
        return attention_by_blocks(query, key, value, layout=layout, scale=scale, prefix=prefix)
    return attention_by_segments(query, key, value, layout=layout, scale=scale, prefix=prefix)


def attention_by_blocks(
    query: Tensor, key: Tensor, value: Tensor, *, layout: "Layout", scale: float, prefix: Prefix | None = None
) -> Tensor:
    """The same by one kernel for all segments: FlexAttention, compiled once for rows of all lengths on a GPU."""
    if prefix is not None:
        key, value = (torch.cat([first, rest], dim=2) for first, rest in zip(prefix, (key, value), strict=True))
    mask = _mask(layout, virtual=key.shape[2] - query.shape[2], device=query.device)
    attend = _kernel(is_compiled=query.device.type == "cuda")
    output: Tensor = attend(query, key, value, block_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1])
    return output.transpose(1, 2)


def attention_by_segments(
    query: Tensor, key: Tensor, value: Tensor, *, layout: "Layout", scale: float, prefix: Prefix | None = None
) -> Tensor:
    """The same, one segment after the other.

    `split` and not slices: the backward pass of one split is one concatenation, that of every slice a row of zeros as
    long as the whole.
    """
    is_grouped = query.shape[1] != key.shape[1]
    queries, keys, values = (tensor.split(layout.sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for index, prefixes in enumerate(layout.prefixes):
        k = ([] if prefix is None else [prefix[0]]) + [keys[earlier] for earlier in prefixes]
        v = ([] if prefix is None else [prefix[1]]) + [values[earlier] for earlier in prefixes]
        size, ahead = layout.sizes[index], sum(part.shape[2] for part in k)
        mask = None
        if ahead:
            mask = torch.ones(size, ahead + size, dtype=torch.bool, device=query.device).tril(diagonal=ahead)
        outputs.append(
            functional.scaled_dot_product_attention(
                queries[index],
                torch.cat([*k, keys[index]], dim=2),
                torch.cat([*v, values[index]], dim=2),
                attn_mask=mask,
                is_causal=mask is None,
                scale=scale,
                enable_gqa=is_grouped,
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous()


def _takes_blocks(query: Tensor, key: Tensor) -> bool:
    """Whether FlexAttention has a kernel for such queries; without one it would make the matrix of scores."""
    if query.device.type != "cuda":
        return True
    is_known = query.dtype != torch.float64 and query.shape[-1] >= LEAST_WIDTH
    return is_known and compiles(query.device, query.dtype, query.shape[1], key.shape[1], query.shape[-1])


@cache
def compiles(device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, width: int) -> bool:
    """Whether the kernel can be compiled here, forwards and backwards: tried once, on two short segments.

    Where it can't, one line says so, and segments are computed one after the other.
    """
    from models_core.modeling.packing import Layout

    query, key, value = (
        torch.zeros(1, number, 3 * BLOCK, width, device=device, dtype=dtype, requires_grad=True)
        for number in (heads, key_heads, key_heads)
    )
    try:
        with torch.enable_grad():
            output = attention_by_blocks(query, key, value, layout=Layout([BLOCK, 2 * BLOCK], [(), (0,)]), scale=1.0)
            output.sum().backward()
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        processes.log_main(f"FlexAttention does not compile here, so attention takes each segment by itself: {reason}")
        return False
    return True


@cache
def _kernel(*, is_compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if is_compiled else flex_attention


def _mask(layout: "Layout", *, virtual: int, device: torch.device) -> Any:
    """The layout's mask of blocks, made once for all layers."""
    made = layout.masks
    if (virtual, device) not in made:
        made[virtual, device] = _block_mask(layout, virtual=virtual, device=device)
    return made[virtual, device]


def _block_mask(layout: "Layout", *, virtual: int, device: torch.device) -> Any:
    """Which blocks of queries see which blocks of keys; of `virtual` + N keys the first are seen by all.

    All is worked out on the host, from lengths: the device is not waited for.
    """
    from torch.nn.attention.flex_attention import BlockMask

    assert layout.visible_until is not None
    tokens = sum(layout.sizes)
    sizes = torch.tensor(layout.sizes)
    until = torch.tensor(layout.visible_until).repeat_interleave(sizes, output_size=tokens)
    until = torch.cat([torch.full((virtual,), tokens), until])
    some, every = blocks_seen(until, virtual=virtual)
    made = BlockMask.from_kv_blocks(*_listed(some), *_listed(every), BLOCK_SIZE=BLOCK)
    seen_until = to_device(until, device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key - virtual <= query) & (query < seen_until[key])

    lists = (
        "kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices",
        "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices",
    )  # fmt: skip
    moved: dict[str, Any] = {name: to_device(getattr(made, name), device) for name in lists}
    return BlockMask(
        seq_lengths=(tokens, virtual + tokens),
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=sees,
        **moved,
    )


def blocks_seen(until: Tensor, *, virtual: int) -> tuple[Tensor, Tensor]:
    """The blocks of which queries see some keys, and those of which all queries see all: [query blocks, key blocks].

    until: [virtual + N], for every key the first token that no longer sees it. A block without a single pair that is
    seen may be among the first, at the end of what continues a segment: the mask itself is asked there.
    """
    keys = len(until)
    tokens = keys - virtual
    padded = functional.pad(until, (0, -keys % BLOCK)).view(-1, BLOCK)
    latest, earliest = padded.amax(1), padded.amin(1)
    first_key = torch.arange(len(padded)) * BLOCK - virtual
    first_query = torch.arange(0, tokens, BLOCK)[:, None]
    last_query = (first_query + BLOCK).clamp(max=tokens) - 1
    some = (first_key <= last_query) & (latest > first_query)
    is_whole = first_query + BLOCK <= tokens
    every = is_whole & (first_key + BLOCK - 1 <= first_query) & (earliest > last_query)
    return some & ~every, every


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row has, and which come first: [1, 1, rows], [1, 1, rows, columns]."""
    order = torch.argsort(blocks.int(), dim=1, descending=True, stable=True)
    return blocks.sum(1).int()[None, None], order.int()[None, None].contiguous()
