"""Gradients written out by hand against those that autograd finds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import load_policy
from models_core.modeling.manual_autograd import install, lm_head
from models_core.modeling.manual_autograd.lm_head import linear_log_probs
from models_core.modeling.manual_autograd.rms_norm import add_rms_norm, rms_norm
from models_core.modeling.manual_autograd.rope import apply_rope
from models_core.modeling.manual_autograd.swiglu import swiglu
from models_core.modeling.packing import PACKED_ATTENTION, Group, attention_by, check, hidden_states, pack
from models_core.training import memory
from tests.models_core.tiny import make_tiny_model

GROUPS = [Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]), Group([20], [[21, 22, 23]])]
HALF = 2**-8
"""The step of bf16, relative to a number."""
EPS = 1e-5


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale
    return numbers.to(torch.bfloat16).requires_grad_()


def test_normalisation_equals_that_of_transformers_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    plain: Any = LlamaRMSNorm(24, eps=1e-5)
    torch.nn.init.normal_(plain.weight)
    states, direction = torch.randn(2, 5, 24, requires_grad=True), torch.randn(2, 5, 24)
    ours, expected = rms_norm(states, plain.weight, eps=1e-5), plain(states)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    learning = [states, plain.weight]
    found = torch.autograd.grad((ours * direction).sum(), learning)
    wanted = torch.autograd.grad((expected * direction).sum(), learning)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_rotation_equals_that_of_transformers_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    states = torch.randn(1, 7, 3, 8, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(1, 7, 4, dtype=torch.float64).repeat(1, 1, 2)
    cosine, sine = angles.cos(), angles.sin()
    plain, _ = apply_rotary_pos_emb(states, states, cosine, sine, unsqueeze_dim=2)
    ours = apply_rope(states, cosine, sine)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    direction = torch.randn_like(states)
    torch.testing.assert_close(
        torch.autograd.grad((ours * direction).sum(), states),
        torch.autograd.grad((plain * direction).sum(), states),
        rtol=0,
        atol=1e-12,
    )


def check_against_fp64(ours: Callable[..., Tensor], plain: Callable[..., Tensor], given: Sequence[Tensor]) -> None:
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
def test_normalisation_in_bf16(width: int) -> None:
    given = [drawn(2, 5, width, seed=0), drawn(width, seed=1)]
    check_against_fp64(lambda states, weight: rms_norm(states, weight, eps=EPS), normal, given)


def test_the_sum_before_a_normalisation_gets_the_gradients_of_both_ways() -> None:
    def ours(states: Tensor, added: Tensor, weight: Tensor) -> Tensor:
        sums, output = add_rms_norm(states, added, weight, eps=EPS)
        return torch.cat([sums, output])

    def plain(states: Tensor, added: Tensor, weight: Tensor) -> Tensor:
        return torch.cat([states + added, normal(states + added, weight)])

    check_against_fp64(ours, plain, [drawn(7, 40, seed=0), drawn(7, 40, seed=1), drawn(40, seed=2)])


@pytest.mark.parametrize("size", [64, 6])
def test_rotation_in_bf16(size: int) -> None:
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

    check_against_fp64(ours, plain, [wide])


def test_swiglu_in_bf16() -> None:
    given = [drawn(3, 37, seed=0, scale=4), drawn(3, 37, seed=1)]
    check_against_fp64(swiglu, lambda gate, up: functional.silu(gate) * up, given)
    extreme = torch.tensor([-200.0, -90.0, -0.0, 90.0, 200.0], dtype=torch.bfloat16)
    assert swiglu(extreme, torch.ones_like(extreme)).tolist() == pytest.approx([0, 0, 0, 90, 200], rel=0, abs=1e-30)


@pytest.mark.parametrize(("chunk", "kept"), [(1024, 2**28), (4, 2**28), (4, 0)])
def test_log_probabilities_in_bf16(chunk: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one chunk or several, from kept errors or from such as are computed again."""
    monkeypatch.setattr(lm_head, "CHUNK", chunk)
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

    monkeypatch.setattr(lm_head, "softmax_errors", watched)
    with torch.set_grad_enabled(has_gradients):
        linear_log_probs(drawn(6, 16, seed=0), drawn(70, 16, seed=1), None, torch.tensor([0, 69, 3, 3, 50, 7]))
    assert wanted == [has_gradients]


@pytest.mark.parametrize("method", ["full", "frozen_projections"])
def test_a_model_with_kernels_has_the_gradients_of_one_without(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32, where all kernels are in use, against transformers' own layers under the same packed attention."""
    folder = make_tiny_model(tmp_path / "model")
    gradients = []
    for installs in (True, False):
        model: Any = load_policy(folder, device="cpu", dtype=torch.float32)
        if method == "frozen_projections":
            model.requires_grad_(False)
            model.model.layers[0].input_layernorm.requires_grad_(True)
        if not installs:
            monkeypatch.setattr(install, "install", lambda _: None)
        states = hidden_states(trunk(model), pack(GROUPS, sharing="always"))
        assert ("forward" in vars(model.model.norm)) is installs
        (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_what_is_not_packed_goes_the_usual_way(tmp_path: Path) -> None:
    """Sampling brings a cache and no layout: the same logits as before, from the same module."""
    model: Any = load_policy(make_tiny_model(tmp_path / "model"), device="cpu", dtype=torch.float32)
    row = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=row, use_cache=True)
    install.install(trunk(model))
    after = model(input_ids=row, use_cache=True)
    torch.testing.assert_close(after.logits, before.logits, rtol=0, atol=1e-5)
    step = model(input_ids=torch.tensor([[9]]), past_key_values=after.past_key_values, use_cache=True).logits
    whole = model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[:, -1:]
    torch.testing.assert_close(step, whole, rtol=0, atol=1e-5)


def test_the_attention_is_put_back_even_after_an_error(tmp_path: Path) -> None:
    model: Any = load_policy(make_tiny_model(tmp_path / "model"), device="cpu", dtype=torch.float32)
    usual = model.config._attn_implementation
    with pytest.raises(RuntimeError), attention_by(model.config, PACKED_ATTENTION):
        raise RuntimeError
    assert model.config._attn_implementation == usual


def test_layers_computed_twice_have_the_same_gradients(tmp_path: Path) -> None:
    """The second time comes in the backward pass, long after the packed attention was put back."""
    folder = make_tiny_model(tmp_path / "model")
    gradients = []
    for twice in (False, True):
        model: Any = load_policy(folder, device="cpu", dtype=torch.float32)
        if twice:
            memory.checkpoint_activations(model)
        check(trunk(model))
        calls: list[int] = []
        model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        states = hidden_states(trunk(model), pack(GROUPS, sharing="always"))
        (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        assert len(calls) == 1 + twice
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize("kind", ["llama", "qwen", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("twice", [False, True])
def test_some_tokens_alone_have_the_states_and_gradients_they_have_among_all(
    kind: str, dtype: torch.dtype, twice: bool, tmp_path: Path
) -> None:
    """Also one that is wanted twice, as a prompt's last token is, and in another order."""
    folder, packed = make_tiny_model(tmp_path / "model", kind=kind), pack(GROUPS, sharing="always")
    rows = torch.tensor([12, 3, 4, 3, 0])
    found = []
    for alone in (False, True):
        model: Any = load_policy(folder, device="cpu", dtype=dtype)
        if twice:
            memory.checkpoint_activations(model)
        states = hidden_states(trunk(model), packed, rows=rows) if alone else hidden_states(trunk(model), packed)[rows]
        (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        found.append((states.detach(), gradients))
    assert found[1][0].shape == (5, 16)
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        # transformers normalises in fp32 whatever comes in
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_only_the_last_layers_mlp_is_spared_the_other_tokens(tmp_path: Path) -> None:
    model: Any = load_policy(make_tiny_model(tmp_path / "model"), device="cpu", dtype=torch.float32)
    check(trunk(model))
    sizes: list[int] = []
    for layer in model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[1]))
    packed = pack(GROUPS, sharing="always")
    hidden_states(trunk(model), packed, rows=packed.ends)
    hidden_states(trunk(model), packed)
    assert sizes == [14, 4, 14, 14]
