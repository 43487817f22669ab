"""Compiled kernels of a training step in bf16 against the plain formulas in fp64, and against plain torch."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models_core.modeling import operators
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import load_policy
from models_core.modeling.manual_autograd import lm_head
from models_core.modeling.manual_autograd.lm_head import linear_log_probs
from models_core.modeling.manual_autograd.rms_norm import add_rms_norm, rms_norm
from models_core.modeling.manual_autograd.rope import apply_rope
from models_core.modeling.manual_autograd.swiglu import swiglu
from models_core.modeling.packing import Group, hidden_states, pack
from tests.models_core.tiny import make_tiny_model

pytestmark = pytest.mark.usefixtures("compiler")

HALF = 2**-8
"""The step of bf16, relative to a number."""
EPS = 1e-5


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Any:
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale
    return numbers.to(torch.bfloat16).requires_grad_()


def check(ours: Callable[..., Tensor], plain: Callable[..., Tensor], given: Sequence[Tensor]) -> None:
    """Values and gradients in bf16 are those of fp64, to the rounding of few steps."""
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    found, expected = ours(*given), plain(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=2 * HALF, atol=2 * HALF)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(9)).to(torch.bfloat16)
    gradients = torch.autograd.grad((found * direction).sum(), given)
    wanted = torch.autograd.grad((expected * direction.double()).sum(), exact)
    for gradient, one in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), one, rtol=4 * HALF, atol=4 * HALF * max(1.0, one.std().item()))


def normal(states: Tensor, weight: Tensor) -> Tensor:
    return weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + EPS)


@pytest.mark.parametrize("width", [32, 40])
def test_normalisation(width: int, threads: int) -> None:
    given = [drawn(2, 5, width, seed=0), drawn(width, seed=1)]
    assert rms_norm.uses_kernel(*given, eps=EPS)
    check(lambda states, weight: rms_norm(states, weight, eps=EPS), normal, given)


def test_the_sum_before_a_normalisation_gets_the_gradients_of_both_ways(threads: int) -> None:
    def ours(states: Tensor, added: Tensor, weight: Tensor) -> Tensor:
        sums, output = add_rms_norm(states, added, weight, eps=EPS)
        return torch.cat([sums, output])

    def plain(states: Tensor, added: Tensor, weight: Tensor) -> Tensor:
        return torch.cat([states + added, normal(states + added, weight)])

    check(ours, plain, [drawn(7, 40, seed=0), drawn(7, 40, seed=1), drawn(40, seed=2)])


@pytest.mark.parametrize("size", [64, 6])
def test_rotation(size: int, threads: int) -> None:
    """Of heads that lie beside something else, as a wider projection leaves them."""
    angles = torch.randn(1, 7, size // 2, generator=torch.Generator().manual_seed(5)).repeat(1, 1, 2)
    cosine, sine = angles.cos().bfloat16(), angles.sin().bfloat16()
    wide = drawn(1, 7, 5, size + 2, seed=0)

    def ours(states: Tensor) -> Tensor:
        return apply_rope(states[:, :, 1:4, :size], cosine, sine)

    def plain(states: Tensor) -> Tensor:
        first, second = states[:, :, 1:4, :size].chunk(2, dim=-1)
        c, s = (angle.double()[:, :, None, : size // 2] for angle in (cosine, sine))
        return torch.cat([first * c - second * s, second * c + first * s], dim=-1)

    check(ours, plain, [wide])


def test_swiglu(threads: int) -> None:
    given = [drawn(3, 37, seed=0, scale=4), drawn(3, 37, seed=1)]
    check(swiglu, lambda gate, up: functional.silu(gate) * up, given)
    extreme = torch.tensor([-200.0, -90.0, -0.0, 90.0, 200.0], dtype=torch.bfloat16)
    assert swiglu(extreme, torch.ones_like(extreme)).tolist() == pytest.approx([0, 0, 0, 90, 200], rel=0, abs=1e-30)


@pytest.mark.parametrize(("chunk", "kept"), [(1024, 2**28), (4, 2**28), (4, 0)])
def test_log_probabilities(chunk: int, kept: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one chunk or several, from kept errors or from such as are computed again."""
    monkeypatch.setattr(lm_head, "KERNEL_CHUNK", chunk)
    monkeypatch.setattr(lm_head, "KEPT_BYTES", kept)
    tokens = torch.tensor([0, 69, 3, 3, 50, 7])
    hidden, weight = drawn(6, 16, seed=0), drawn(70, 16, seed=1)

    def plain(hidden: Tensor, weight: Tensor) -> Tensor:
        return functional.log_softmax(hidden @ weight.t() / 0.7, dim=-1)[torch.arange(6), tokens]

    found = linear_log_probs(hidden, weight, None, tokens, temperature=0.7)
    expected = plain(hidden.detach().double(), weight.detach().double())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.1)  # logits are rounded to bf16
    direction = torch.randn(6, generator=torch.Generator().manual_seed(3))
    exact = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    wanted = torch.autograd.grad((plain(*exact) * direction.double()).sum(), exact)
    for gradient, one in zip(torch.autograd.grad((found * direction).sum(), [hidden, weight]), wanted, strict=True):
        torch.testing.assert_close(gradient.double(), one, rtol=4 * HALF, atol=0.02)


@pytest.mark.parametrize("has_gradients", [True, False])
def test_errors_are_worked_out_only_where_they_will_be_read(
    has_gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning weight asks for them in a pass of scoring, too, in which nobody would."""
    usual, wanted = lm_head.softmax_errors, []

    def watched(*given: Any, **named: Any) -> Any:
        wanted.append(named["wants_error"])
        return usual(*given, **named)

    watched.uses_kernel = usual.uses_kernel  # type: ignore[attr-defined]
    monkeypatch.setattr(lm_head, "softmax_errors", watched)
    with torch.set_grad_enabled(has_gradients):
        linear_log_probs(drawn(6, 16, seed=0), drawn(70, 16, seed=1), None, torch.tensor([0, 69, 3, 3, 50, 7]))
    assert wanted == [has_gradients]


def test_a_model_without_kernels_computes_the_same(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    groups = [Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]), Group([20], [[21, 22, 23]])]
    found = []
    for switched_off in (contextlib.nullcontext(), operators.without_kernels()):
        model: Any = load_policy(folder, device="cpu", dtype=torch.bfloat16)
        with switched_off:
            states = hidden_states(trunk(model), packed := pack(groups))[packed.predictors]
            log_probs = linear_log_probs(states, model.lm_head.weight, None, packed.response_ids)
            log_probs.sum().backward()
        found.append((log_probs.detach(), {name: weight.grad for name, weight in model.named_parameters()}))
    assert not torch.equal(found[0][0], found[1][0])  # another rounding: two ways were compared
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0.05)
    for name, gradient in found[0][1].items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradient, found[1][1][name], rtol=0.05, atol=0.05 * largest, msg=name)
