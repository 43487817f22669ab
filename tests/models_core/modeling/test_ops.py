import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models_core.modeling import devices, ops
from models_core.modeling.manual_autograd import lm_head

MASK = torch.tensor([[True, True, False], [True, False, False]])
VALUES = torch.tensor([[1.0, 3.0, float("nan")], [5.0, 99.0, float("inf")]])


def test_masked_statistics_ignore_whatever_the_padding_holds() -> None:
    assert ops.masked_sum(VALUES, MASK).item() == 9.0
    assert ops.masked_mean(VALUES, MASK).item() == 3.0
    assert ops.masked_variance(VALUES, MASK).item() == pytest.approx(8 / 3)


def test_an_empty_mask_has_mean_zero() -> None:
    assert ops.masked_mean(VALUES, torch.zeros_like(MASK)).item() == 0.0


def test_whitening_removes_the_mean_of_advantages_and_keeps_that_of_rewards() -> None:
    unit = math.sqrt(8 / 3)
    centred = ops.whiten(VALUES, MASK)
    assert centred.tolist()[0] == pytest.approx([-2 / unit, 0.0, 0.0])
    assert centred.tolist()[1] == pytest.approx([2 / unit, 0.0, 0.0])
    kept = ops.whiten(VALUES, MASK, keep_mean=True)
    assert kept.tolist()[0] == pytest.approx([3 - 2 / unit, 3.0, 0.0])
    assert kept[1, 1:].tolist() == [0.0, 0.0]


def test_a_gradient_through_a_masked_sum_leaves_the_padding_alone() -> None:
    values = VALUES.clone().requires_grad_()
    ops.masked_sum(values, MASK).backward()
    assert values.grad is not None
    assert values.grad.tolist() == MASK.float().tolist()


def test_length_masks_are_true_up_to_each_length() -> None:
    assert ops.length_mask(torch.tensor([2, 1]), 3).tolist() == MASK.tolist()


def test_token_log_probs_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]))
    chosen = ops.token_log_probs(logits, torch.tensor([0, 2]))
    assert chosen.exp().tolist() == pytest.approx([0.5, 0.7])
    # At temperature 0.5 probabilities are squared: 0.25 / (0.25 + 0.0625 + 0.0625).
    assert ops.token_log_probs(logits, torch.tensor([0, 2]), temperature=0.5)[0].exp().item() == pytest.approx(2 / 3)


def test_token_log_probs_of_bf16_logits_are_fp32() -> None:
    assert ops.token_log_probs(torch.zeros(1, 4, dtype=torch.bfloat16), torch.tensor([1])).dtype == torch.float32


def test_entropy_of_a_uniform_and_of_a_certain_choice() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [80.0, 0.0, 0.0, 0.0]])
    assert ops.entropies(logits).tolist() == pytest.approx([math.log(4), 0.0])


@pytest.mark.parametrize("kept_bytes", [0, 10**9])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("learns", [True, False])
def test_head_log_probs_equal_the_plain_way_in_value_and_gradient(
    learns: bool, bias: bool, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks; where the head learns with its errors kept or computed again, where not with a gradient in advance."""
    monkeypatch.setattr(lm_head, "CHUNK", 3)
    monkeypatch.setattr(lm_head, "KEPT_BYTES", kept_bytes)
    torch.manual_seed(0)
    head = torch.nn.Linear(6, 11, bias=bias, dtype=torch.float64).requires_grad_(learns)
    hidden = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(0, 11, (10,))
    weights = torch.arange(10, dtype=torch.float64)
    learning = [hidden, *head.parameters()] if learns else [hidden]

    plain = ops.token_log_probs(head(hidden), tokens, temperature=0.7)
    expected = torch.autograd.grad((plain * weights).sum(), learning)
    chunked = ops.head_log_probs(hidden, head, tokens, temperature=0.7)
    gradients = torch.autograd.grad((chunked * weights).sum(), learning)
    torch.testing.assert_close(chunked, plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(ops.head_log_probs(hidden, head, tokens, temperature=0.7), plain)


def test_a_head_with_a_hook_is_called_as_a_module() -> None:
    """An adapter may sit behind the vocabulary's layer: its module is called, chunk by chunk."""
    head = torch.nn.Linear(4, 5, dtype=torch.float64)
    head.register_forward_hook(lambda module, inputs, output: output * 2)
    hidden, tokens = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 4, 2])
    found, plain = ops.head_log_probs(hidden, head, tokens), ops.token_log_probs(head(hidden), tokens)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), hidden), torch.autograd.grad(plain.sum(), hidden))


def test_explained_variance_of_a_perfect_and_of_a_constant_prediction() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    target = torch.tensor([[1.0, 2.0, 6.0]])
    assert ops.explained_variance(target, target, mask).item() == pytest.approx(1.0)
    assert ops.explained_variance(torch.full_like(target, 7.0), target, mask).item() == pytest.approx(0.0)


class Largest(TorchDispatchMode):
    """The most numbers that a tensor in fp32 had."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float32:
            self.numbers = max(self.numbers, made.numel())
        return made


@pytest.mark.parametrize("kept", [True, False])
def test_the_logits_of_all_tokens_never_exist_at_once(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path of GPUs, forwards and backwards: as many of them as `LOGITS_AT_ONCE` says, in fp32."""
    monkeypatch.setattr(lm_head, "LOGITS_AT_ONCE", 200 * 50)
    monkeypatch.setattr(lm_head, "KEPT_BYTES", 10**9 if kept else 0)
    hidden = torch.randn(1000, 4).bfloat16().requires_grad_()
    weight = torch.randn(50, 4).bfloat16().requires_grad_()
    tokens = torch.randint(0, 50, (1000,))
    usual = lm_head.linear_log_probs(hidden, weight, None, tokens)
    expected = torch.autograd.grad(usual.sum(), [hidden, weight])
    with devices.accelerator_path(), Largest() as largest:
        found = lm_head.linear_log_probs(hidden, weight, None, tokens)
        gradients = torch.autograd.grad(found.sum(), [hidden, weight])
    assert largest.numbers == 200 * 50
    torch.testing.assert_close(found, usual, rtol=0, atol=1e-5)
    torch.testing.assert_close(gradients, expected, rtol=2e-2, atol=2e-2)
