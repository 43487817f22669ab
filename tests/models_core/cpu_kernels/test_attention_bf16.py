"""Compiled attention within segments, bf16, against the plain formula in fp64."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models_core.modeling import packing, torch_attention
from models_core.modeling.manual_autograd import segment_attention as attention
from models_core.modeling.manual_autograd.segment_attention import Segment, segment_attention
from models_core.modeling.packing import Layout

pytestmark = pytest.mark.usefixtures("bf16_products", "compiled")

STEP = 2**-8
"""The step of bf16, relative to a number."""
SCALE = 0.3
LAYOUTS = {
    "one token": Layout([1], [()]),
    "two": Layout([2], [()]),
    "a panel and one": Layout([33], [()]),
    "several panels": Layout([257], [()]),
    "a long segment in pieces": Layout([9, 1100], [(), (0,)]),
    "prompts and responses": Layout([5, 31, 80, 1, 33, 2, 7], [(), (0,), (0, 1), (0, 1), (0,), (0, 4), ()]),
    "responses shorter than their prompt": Layout([40, *[13] * 16], [(), *[(0,)] * 16]),
    "an empty response": Layout([6, 0, 3], [(), (0,), (0,)]),
}
SHAPES = {"grouped": (6, 2, 64), "small": (4, 2, 8), "odd": (3, 3, 37), "wide": (5, 1, 128)}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain function must not be what is tested here."""
    monkeypatch.setattr(attention, "_SegmentAttention", None)


def drawn(heads: int, tokens: int, size: int, *, seed: int) -> Tensor:
    """[1, heads, N, d], as a projection's output looks: tokens by heads in memory, beside something else."""
    numbers = torch.randn(1, tokens, heads, size + 3, generator=torch.Generator().manual_seed(seed))
    return numbers.bfloat16()[..., :size].transpose(1, 2).requires_grad_()


def formula(query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment]) -> Tensor:
    tokens, group = query.shape[2], query.shape[1] // key.shape[1]
    visible = torch.zeros(tokens, tokens, dtype=torch.bool)
    for segment in segments:
        for token in range(segment.start, segment.end):
            visible[token, segment.start : token + 1] = True
            for start, end in segment.prefixes:
                visible[token, start:end] = True
    key, value = (tensor.repeat_interleave(group, dim=1) for tensor in (key, value))
    scores = (query @ key.transpose(2, 3) * SCALE).masked_fill(~visible, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def values_and_gradients(attend: Any, given: Sequence[Tensor], direction: Tensor) -> list[Tensor]:
    output = attend(*given)
    return [output.detach(), *torch.autograd.grad(output, given, direction.to(output.dtype))]


def check(layout: Layout, shape: tuple[int, int, int]) -> list[Tensor]:
    """Every row of outputs and gradients, to a few roundings of its norm or of a usual one; returns ours."""
    heads, key_heads, size = shape
    given = [
        drawn(count, sum(layout.sizes), size, seed=seed) for seed, count in enumerate((heads, key_heads, key_heads))
    ]
    direction = drawn(heads, sum(layout.sizes), size, seed=9).detach().transpose(1, 2)
    segments = layout.segments
    found = values_and_gradients(lambda *of: segment_attention(*of, segments=segments, scale=SCALE), given, direction)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    expected = values_and_gradients(lambda *of: formula(*of, segments), exact, direction)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.bfloat16
        norms = other.norm(dim=-1)
        room = 4 * STEP * torch.maximum(norms, norms.mean()).clamp_min(size**0.5)
        assert ((one.double() - other).norm(dim=-1) <= room).all()
    return found


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_values_and_gradients_at_all_lengths(layout: Layout) -> None:
    check(layout, SHAPES["grouped"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_values_and_gradients_of_all_shapes(shape: tuple[int, int, int]) -> None:
    check(LAYOUTS["prompts and responses"], shape)


@pytest.mark.parametrize("name", ["a long segment in pieces", "prompts and responses"])
def test_no_bit_depends_on_the_number_of_threads(name: str) -> None:
    usual = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            found.append(check(LAYOUTS[name], SHAPES["grouped"]))
        finally:
            torch.set_num_threads(usual)
    for one, other, third in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_large_scores_are_no_matter_and_a_broken_number_is_seen() -> None:
    """Scores of some hundreds, whose exponentials no number holds; and NaN stays where it was given."""
    query, key, value = (drawn(2, 40, 16, seed=seed).detach() for seed in range(3))
    segments = [Segment(0, 30), Segment(30, 40)]
    found = segment_attention(query * 30, key * 30, value, segments=segments, scale=SCALE)
    expected = formula((query * 30).double(), (key * 30).double(), value.double(), segments)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.05)
    query[0, 0, 20, 3] = torch.nan
    found = segment_attention(query, key, value, segments=segments, scale=SCALE)
    broken = found.isnan().all(-1)[0]
    assert broken.nonzero().tolist() == [[20, 0]]


def test_long_segments_of_other_numbers_still_go_to_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only compiled kernels take segments of any length."""
    layout = Layout([40], [()])
    monkeypatch.setattr(packing, "SMALL_ATTENTION", 100)
    monkeypatch.setattr(torch_attention, "attention", lambda *_, **__: "torch's")
    given = [drawn(2, 40, 16, seed=seed) for seed in range(3)]
    module = torch.nn.Module()
    halves, _ = packing._attend(module, *given, None, layout=layout)
    assert isinstance(halves, Tensor)
    floats, _ = packing._attend(module, *(tensor.float() for tensor in given), None, layout=layout)
    assert floats == "torch's"
