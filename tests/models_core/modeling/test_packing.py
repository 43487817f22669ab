"""Packed rows against the plain way: one row at a time through the unchanged model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.demonstrations.examples import Example
from models_core.demonstrations.token_losses import loss_positions, token_losses
from models_core.modeling import packing
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import load_policy
from models_core.modeling.manual_autograd import segment_attention
from models_core.modeling.manual_autograd.segment_attention import Segment
from models_core.modeling.packing import Group, hidden_states, pack
from models_core.modeling.torch_attention import attention_by_segments
from tests.models_core.tiny import make_tiny_model

GROUPS = [
    Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]),
    Group([20], [[21, 22, 23]]),
    Group([30, 31, 32]),
]


ALIKE = [40, 41, 42, 43, 44, 45, 46, 47, 48]
BEGUN = [
    Group([*ALIKE, 5, 6], [[9, 10], [11]]),
    Group([*ALIKE, 20], [[21, 22, 23]]),
    Group([*ALIKE, 5, 7], [[8]]),
    Group([*ALIKE, 30]),
]
"""Rows that begin with the same nine tokens."""


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    folder = make_tiny_model(tmp_path / "model", kind=request.param)
    return load_policy(folder, device="cpu", dtype=torch.float64)


def plain_rows() -> list[list[int]]:
    """The rows that the packed one stands for, in the order of its segments."""
    return [
        [5, 6, 7, 8],
        [5, 6, 7, 8, 9, 10],
        [5, 6, 7, 8, 11],
        [5, 6, 7, 8, 12, 13, 14],
        [20, 21, 22, 23],
        [30, 31, 32],
    ]


def test_the_layout_by_hand() -> None:
    packed = pack(GROUPS, sharing="always")
    assert packed.ids.tolist() == [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 21, 22, 23, 30, 31, 32]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 5, 4, 4, 5, 6, 0, 1, 2, 3, 0, 1, 2]]
    assert packed.layout.sizes == [4, 2, 1, 3, 4, 3]
    assert packed.layout.prefixes == [(), (0,), (0,), (0,), (), ()]
    assert packed.layout.segments[:3] == [Segment(0, 4), Segment(4, 6, ((0, 4),)), Segment(6, 7, ((0, 4),))]


def test_what_all_rows_begin_with_is_laid_out_once() -> None:
    packed = pack(BEGUN, sharing="always")
    assert packed.ids.tolist() == [[*ALIKE, 5, 6, 9, 10, 11, 20, 21, 22, 23, 5, 7, 8, 30]]
    assert packed.positions.tolist() == [[*range(9), 9, 10, 11, 12, 11, 9, 10, 11, 12, 9, 10, 11, 9]]
    assert packed.layout.sizes == [9, 2, 2, 1, 4, 3, 1]
    assert packed.layout.prefixes == [(), (0,), (0, 1), (0, 1), (0,), (0,), (0,)]
    assert packed.ids[0, packed.predictors].tolist() == [6, 9, 6, 20, 21, 22, 7]
    assert packed.ids[0, packed.ends].tolist() == [10, 11, 23, 8]
    assert packed.indices(torch.tensor([0, 1, 1, 3]), torch.tensor([8, 8, 9, 9])).tolist() == [8, 8, 14, 21]


def test_little_or_nothing_alike_is_not_shared() -> None:
    few = [Group([1, 2, 3, token], [[5]]) for token in (4, 6)]
    alone = [Group([*ALIKE, 5], [[6]])]
    same = [Group(ALIKE[:8], [[token]]) for token in (4, 6)]
    assert [pack(groups).shared for groups in (few, alone, same)] == [0, 0, 0]
    assert pack([Group(ALIKE, [[4]])] * 2).shared == 8


def test_a_shared_beginning_changes_neither_states_nor_gradients(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every response token and, through it, of every weight."""
    found = []
    for least in (8, 100):
        monkeypatch.setattr(packing, "LEAST_SHARED", least)
        model.zero_grad()
        packed = pack(BEGUN, sharing="always")
        assert packed.shared == (9 if least == 8 else 0)
        states = hidden_states(trunk(model), packed)
        predicting, last = states[packed.predictors], states[packed.indices(torch.tensor([3]), torch.tensor([9]))]
        predicting.pow(3).sum().add(last.pow(2).sum()).backward()
        found.append((predicting.detach(), last.detach(), [weight.grad for weight in model.parameters()]))
    torch.testing.assert_close(found[0][:2], found[1][:2], rtol=0, atol=1e-10)
    rtol, atol = (1e-8, 1e-10) if model.config.model_type == "gpt2" else (1e-5, 1e-4)
    for shared, separate in zip(found[0][2], found[1][2], strict=True):
        if separate is not None:
            torch.testing.assert_close(shared, separate, rtol=rtol, atol=atol)


def test_losses_in_what_rows_begin_with_count_once_for_each(model: Any) -> None:
    """An auxiliary loss is over prompts too: a place of the shared beginning is learned by every row."""
    rows = [Example([*ALIKE, 5], [6, 7], [4, 9], 0), Example([*ALIKE, 8], [9], [8], 0)]
    for whole_rows in (False, True):
        at = loss_positions(rows, whole_rows=whole_rows, device=torch.device("cpu"))
        together = token_losses(model, rows, at, device=torch.device("cpu")).split(at.sizes)
        for row, losses in zip(rows, together, strict=True):
            alone = loss_positions([row], whole_rows=whole_rows, device=torch.device("cpu"))
            expected = token_losses(model, [row], alone, device=torch.device("cpu"))
            torch.testing.assert_close(losses, expected, rtol=0, atol=1e-10)


def test_each_response_token_knows_what_predicts_it() -> None:
    packed = pack(GROUPS, sharing="always")
    assert packed.response_ids.tolist() == [9, 10, 11, 12, 13, 14, 21, 22, 23]
    assert packed.ids[0, packed.predictors].tolist() == [8, 9, 8, 8, 12, 13, 20, 21, 22]
    assert packed.response_sizes == [2, 1, 3, 3]
    assert packed.ids[0, packed.ends].tolist() == [10, 11, 14, 23]


def test_a_prompt_that_is_not_shared_stands_before_each_response() -> None:
    packed = pack(GROUPS, sharing="never")
    assert packed.ids.tolist() == [
        [5, 6, 7, 8, 9, 10, 5, 6, 7, 8, 11, 5, 6, 7, 8, 12, 13, 14, 20, 21, 22, 23, 30, 31, 32]
    ]
    assert packed.positions.tolist() == [[*range(6), *range(5), *range(7), *range(4), *range(3)]]
    assert packed.layout.sizes == [6, 5, 7, 4, 3]
    assert packed.layout.prefixes == [()] * 5
    assert packed.response_ids.tolist() == [9, 10, 11, 12, 13, 14, 21, 22, 23]
    assert packed.ids[0, packed.predictors].tolist() == [8, 9, 8, 8, 12, 13, 20, 21, 22]
    assert packed.ids[0, packed.ends].tolist() == [10, 11, 14, 23]


def test_a_prompt_is_shared_where_that_saves_more_than_it_costs() -> None:
    """15 tokens saved are too few, 16 are enough, whether many responses share few tokens or two share many."""
    rows = [Group(range(15), [[1], [2]]), Group(range(16), [[1], [2]]), Group(range(4), [[1]] * 5), Group([1], [[1]])]
    assert [len(pack([row]).layout.sizes) for row in rows] == [2, 3, 6, 1]
    assert [row.cost("auto") for row in rows] == [32, 18, 9, 2]
    assert [row.cost("always") for row in rows] == [17, 18, 9, 2]
    assert [row.cost("never") for row in rows] == [32, 34, 25, 2]
    for row in rows:
        for sharing in ("auto", "always", "never"):
            assert pack([row], sharing=sharing).ids.shape[1] == row.cost(sharing)


def test_the_cost_of_a_group_counts_its_prompt_once() -> None:
    assert GROUPS[0].tokens == 4 + 2 + 1 + 3


def test_hidden_states_equal_those_of_separate_rows(model: Any) -> None:
    packed = pack(GROUPS, sharing="always")
    states = hidden_states(trunk(model), packed).split(packed.layout.sizes)
    for row, segment in zip(plain_rows(), states, strict=True):
        plain = trunk(model)(input_ids=torch.tensor([row])).last_hidden_state[0, -len(segment) :]
        torch.testing.assert_close(segment, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sharing", ["always", "never"])
def test_gradients_equal_those_of_separate_rows(model: Any, sharing: str) -> None:
    """A shared prompt is computed once, and yet each response sends its gradient through it."""
    packed = pack(GROUPS, sharing=sharing)
    torch.manual_seed(0)
    direction = torch.randn(16, dtype=torch.float64)
    (hidden_states(trunk(model), packed)[packed.ends] @ direction).pow(2).sum().backward()
    shared = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    for group in GROUPS:
        for response in group.responses:
            row = torch.tensor([[*group.prompt, *response]])
            (trunk(model)(input_ids=row).last_hidden_state[0, -1] @ direction).pow(2).backward()
    # Llama's normalisation computes in fp32 even in an fp64 model.
    rtol, atol = (1e-8, 1e-10) if model.config.model_type == "gpt2" else (1e-5, 1e-4)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(shared[name], weight.grad, rtol=rtol, atol=atol)


def test_the_model_computes_as_before_afterwards(model: Any) -> None:
    row = torch.tensor([[5, 6, 7]])
    before = model(input_ids=row).logits
    hidden_states(trunk(model), pack(GROUPS, sharing="always"))
    torch.testing.assert_close(model(input_ids=row).logits, before, rtol=0, atol=0)


def test_plain_products_and_the_kernel_give_the_same_attention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which of the two computes a segment depends on its size and the device, never the result."""
    model = load_policy(make_tiny_model(tmp_path / "model"), device="cpu", dtype=torch.float32)
    results = []
    for limit in (0, 10**9):
        monkeypatch.setattr(packing, "SMALL_ATTENTION", limit)
        model.zero_grad()
        states = hidden_states(trunk(model), pack(GROUPS, sharing="always"))
        states.pow(2).sum().backward()
        results.append((states.detach(), model.model.layers[0].self_attn.k_proj.weight.grad.clone()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_long_segments_are_cut_into_blocks_of_queries(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    states = hidden_states(trunk(model), pack(GROUPS, sharing="always"))
    monkeypatch.setattr(segment_attention, "QUERY_BLOCK", 2)
    torch.testing.assert_close(hidden_states(trunk(model), pack(GROUPS, sharing="always")), states, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ahead", [0, 2])
def test_attention_and_its_gradient_equal_the_plain_formula(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 heads share 2 key heads; a prompt of 3, a response of 2 that sees it and one of 4 that sees both; a row of 5.

    In blocks of 2 queries."""
    monkeypatch.setattr(segment_attention, "QUERY_BLOCK", 2)
    torch.manual_seed(0)
    layout = packing.Layout([3, 2, 4, 5], [(), (0,), (0, 1), ()])
    query, key, value = (torch.randn(1, heads, 14, 8, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    first_keys, first_values = (torch.randn(1, 2, ahead, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    prefix = (first_keys, first_values) if ahead else None
    learning = [query, key, value, *(prefix or ())]
    ours = segment_attention.segment_attention(query, key, value, segments=layout.segments, scale=0.3, prefix=prefix)

    visible = torch.zeros(14, ahead + 14, dtype=torch.bool)
    visible[:, :ahead] = True
    for segment in layout.segments:
        for token in range(segment.start, segment.end):
            visible[token, ahead + segment.start : ahead + token + 1] = True
            for start, end in segment.prefixes:
                visible[token, ahead + start : ahead + end] = True
    k = torch.cat([first_keys, key], dim=2).repeat_interleave(2, dim=1)
    v = torch.cat([first_values, value], dim=2).repeat_interleave(2, dim=1)
    scores = (query @ k.transpose(2, 3) * 0.3).masked_fill(~visible, -torch.inf)
    plain = (scores.softmax(-1) @ v).transpose(1, 2)

    direction = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * direction).sum(), learning)
    kernel = attention_by_segments(query, key, value, layout=layout, scale=0.3, prefix=prefix)
    for found in (ours, kernel):
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
        gradients = torch.autograd.grad((found * direction).sum(), learning)
        torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-12)
