"""The attention that GPUs take, on a processor: FlexAttention without its kernels, against that of segments."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention

from models_core.modeling import devices, torch_attention
from models_core.modeling.manual_autograd.segment_attention import segment_attention
from models_core.modeling.packing import Group, Layout, pack
from models_core.modeling.torch_attention import BLOCK, attention_by_blocks

ALIKE = list(range(60))
ROWS = [
    Group([*ALIKE, *range(100, 190)], [range(70), range(40), range(150)]),
    Group([*ALIKE, 7], [range(33)]),
    Group([*ALIKE, 8, 9], [range(120), range(5)]),
]
"""Rows that begin alike, two of them with a prompt that several responses continue: 570 tokens."""


@pytest.fixture(autouse=True)
def gradients_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention refuses them there, since it has no kernel for them; its plain way of computing has them."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)


def layouts() -> Iterator[Layout]:
    yield pack(ROWS, sharing="always").layout
    yield pack(ROWS, sharing="never").layout
    yield pack([Group([1, 2], [[3]])]).layout
    yield Layout([128, 128, 1, 255], [(), (0,), (0,), ()])
    yield Layout([3, 2, 4, 5], [(), (0,), (0, 1), ()])


def seen_pairs(layout: Layout, *, virtual: int) -> Tensor:
    """[N, virtual + N], from the segments one by one."""
    tokens = sum(layout.sizes)
    pairs = torch.zeros(tokens, virtual + tokens, dtype=torch.bool)
    pairs[:, :virtual] = True
    for segment in layout.segments:
        own = slice(segment.start, segment.end)
        pairs[own, virtual:][:, own] = torch.ones(segment.size, segment.size, dtype=torch.bool).tril()
        for start, end in segment.prefixes:
            pairs[own, virtual + start : virtual + end] = True
    return pairs


@pytest.mark.parametrize("virtual", [0, 5])
@pytest.mark.parametrize("number", range(5))
def test_the_attention_of_blocks_is_that_of_segments(number: int, virtual: int) -> None:
    """In fp32, forward and gradients, with a prompt shared by its responses, a shared beginning, and virtual tokens."""
    layout = list(layouts())[number]
    generator = torch.Generator().manual_seed(number)

    def drawn(heads: int, tokens: int) -> Tensor:
        return torch.randn(1, heads, tokens, 8, generator=generator).requires_grad_()

    query, key, value = (drawn(heads, sum(layout.sizes)) for heads in (4, 2, 2))
    prefix = (drawn(2, virtual), drawn(2, virtual)) if virtual else None
    learning = [query, key, value, *(prefix or ())]
    found = attention_by_blocks(query, key, value, layout=layout, scale=0.3, prefix=prefix)
    expected = segment_attention.plain(query, key, value, segments=layout.segments, scale=0.3, prefix=prefix)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    direction = torch.randn(expected.shape, generator=generator)
    gradients = [torch.autograd.grad((output * direction).sum(), learning) for output in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)


@pytest.mark.parametrize("virtual", [0, 5, 128])
@pytest.mark.parametrize("number", range(5))
def test_blocks_that_nobody_sees_are_left_out(number: int, virtual: int) -> None:
    """A kernel computes the listed blocks, asks the mask within some, and takes the others whole."""
    layout = list(layouts())[number]
    mask = torch_attention._block_mask(layout, virtual=virtual, device=torch.device("cpu"))
    pairs = seen_pairs(layout, virtual=virtual)
    rows, columns = (-(-size // BLOCK) for size in pairs.shape)
    asked, whole = (torch.zeros(rows, columns, dtype=torch.bool) for _ in range(2))
    lists = {"kv": (mask.kv_num_blocks, mask.kv_indices), "full_kv": (mask.full_kv_num_blocks, mask.full_kv_indices)}
    for found, (counts, indices) in zip((asked, whole), lists.values(), strict=True):
        for row in range(rows):
            found[row, indices[0, 0, row, : counts[0, 0, row]].long()] = True
    queries, keys = torch.arange(pairs.shape[0])[:, None], torch.arange(pairs.shape[1])
    assert torch.equal(mask.mask_mod(torch.tensor(0), torch.tensor(0), queries, keys), pairs)
    assert not (asked & whole).any()
    needless = 0
    for row in range(rows):
        for column in range(columns):
            part = pairs[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            assert not whole[row, column] or (part.all() and part.shape == (BLOCK, BLOCK))
            assert not part.any() or asked[row, column] or whole[row, column]
            needless += int(asked[row, column] and not part.any())
    assert needless <= rows // 4
    # What a backward pass reads, by columns, is the same.
    by_columns = torch.zeros_like(asked.T)
    for column in range(columns):
        by_columns[column, mask.q_indices[0, 0, column, : mask.q_num_blocks[0, 0, column]].long()] = True
    assert torch.equal(by_columns.T, asked)


def test_a_layout_of_another_order_goes_segment_by_segment() -> None:
    """What continues a segment must follow it at once: else a token has no one place from which it is unseen."""
    assert Layout([3, 2, 4], [(), (), (0,)]).visible_until is None
    layout = Layout([3, 2, 4], [(), (), (0,)])
    query = torch.randn(1, 2, 9, 8)
    with devices.accelerator_path():
        found = torch_attention.attention(query, query, query, layout=layout, scale=0.3)
    expected = segment_attention.plain(query, query, query, segments=layout.segments, scale=0.3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_kernel_that_does_not_compile_is_done_without(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("no triton\nat all")

    monkeypatch.setattr(torch_attention, "_kernel", lambda **_: broken)
    torch_attention.compiles.cache_clear()
    assert [torch_attention.compiles(torch.device("cpu"), torch.float32, 4, 2, 16) for _ in range(2)] == [False] * 2
    assert capfd.readouterr().err == (
        "FlexAttention does not compile here, so attention takes each segment by itself: no triton\n"
    )
    monkeypatch.undo()
    torch_attention.compiles.cache_clear()
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    assert torch_attention.compiles(torch.device("cpu"), torch.float32, 4, 2, 16)
