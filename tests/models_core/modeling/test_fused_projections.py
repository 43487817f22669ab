"""Linear layers of one input, with LoRA beside them, against peft's own layers and torch's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from models_core.modeling import adapters
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.manual_autograd import install
from models_core.modeling.manual_autograd.fused_projections import LowRank, Projection, project, projected, read
from models_core.modeling.packing import Group, hidden_states, pack
from models_core.training import memory
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import prepared

GROUPS = [Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]), Group([20], [[21, 22, 23]])]
TOKENS, INPUTS, OUTPUTS, RANK = 7, 6, 5, 3


def drawn(*shape: int, seed: int, learns: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(learns)


def gradients_of(states: Tensor, model: Any) -> dict[str, Tensor]:
    (states * drawn(*states.shape, seed=0, learns=False).to(states.dtype)).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


class Peft(nn.Module):
    """Two linear layers, of which peft makes what it makes under these settings."""

    def __init__(self, *, alpha: int = 5, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(INPUTS, OUTPUTS), nn.Linear(INPUTS, 2, bias=False)
        config = LoraConfig(
            r=RANK, lora_alpha=alpha, target_modules=["first", "second"], init_lora_weights=False, **settings
        )
        inject_adapter_in_model(config, self)
        self.double()


@pytest.mark.parametrize("has_low_rank", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_values_and_gradients_are_those_of_the_formula(has_low_rank: tuple[bool, bool], is_frozen: bool) -> None:
    states = drawn(2, TOKENS, INPUTS, seed=1)
    given = []
    for place, beside in enumerate(has_low_rank):
        weight = drawn(OUTPUTS + place, INPUTS, seed=2 + place, learns=not is_frozen)
        bias = drawn(OUTPUTS + place, seed=4 + place, learns=not is_frozen) if place == 0 else None
        down, up = drawn(RANK + place, INPUTS, seed=6 + place), drawn(OUTPUTS + place, RANK + place, seed=8 + place)
        given.append(Projection(weight, bias, LowRank(down, up, 1.7 + place) if beside else None))
    expected = []
    for weight, bias, low_rank in given:
        output = states @ weight.t() + (0.0 if bias is None else bias)
        expected.append(
            output + (0.0 if low_rank is None else states @ low_rank[0].t() @ low_rank[1].t() * low_rank[2])
        )
    found = project(states, given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    learning = [tensor for one in given for tensor in one.tensors if tensor is not None and tensor.requires_grad]
    learning.append(states)
    directions = [drawn(*part.shape, seed=20 + place, learns=False) for place, part in enumerate(found)]
    ours, wanted = (torch.autograd.grad(parts, learning, grad_outputs=directions) for parts in (found, expected))
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["llama", "qwen", "gpt2", "neox"])
def test_a_model_with_lora_is_the_one_that_peft_computes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_model(tmp_path / "model", kind=kind)
    found = []
    for installs in (True, False):
        if not installs:
            monkeypatch.setattr(install, "install", lambda _: None)
        model = prepared(folder, "lora")
        states = hidden_states(trunk(model), packed := pack(GROUPS, sharing="always"))
        gradients = gradients_of(states, model)
        with torch.no_grad(), adapters.adapter_off(model):
            found.append((gradients, {"on": states.detach(), "off": hidden_states(trunk(model), packed)}))
    assert len(found[0][0]) == len(adapters.trainable(model))
    assert not torch.equal(found[0][1]["on"], found[0][1]["off"])
    for ours, plain in zip(*found, strict=True):
        assert ours.keys() == plain.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, plain[name], rtol=1e-12, atol=1e-12, msg=name)


def test_layers_computed_twice_have_the_same_gradients_under_lora(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    found = []
    for twice in (False, True):
        model = prepared(folder, "lora", dtype=torch.float32)
        if twice:
            memory.checkpoint_activations(model)
        found.append(gradients_of(hidden_states(trunk(model), pack(GROUPS, sharing="always")), model))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=0, atol=1e-7, msg=name)


def test_only_the_states_and_their_ranks_are_kept_beside_weights() -> None:
    """For all layers of an input together: N x in numbers, and N x rank for each of them."""
    model = Peft()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        projected(drawn(TOKENS, INPUTS, seed=0), [model.first, model.second])
    weights = {weight.data_ptr() for weight in model.parameters()}
    sizes = [tuple(tensor.shape) for tensor in kept if tensor.data_ptr() not in weights]
    assert sizes == [(TOKENS, INPUTS), (2 * RANK, INPUTS), (TOKENS, 2 * RANK)]  # the second: both A
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept.clear()
        project(drawn(TOKENS, INPUTS, seed=0), [Projection(drawn(OUTPUTS, INPUTS, seed=1, learns=False), None)])
    assert [tuple(tensor.shape) for tensor in kept] == [(OUTPUTS, INPUTS)]


def test_bf16_is_as_near_to_the_exact_product_as_peft() -> None:
    exact = Peft(alpha=2 * RANK)
    states = drawn(256, INPUTS, seed=0, learns=False).to(torch.bfloat16)
    model = Peft(alpha=2 * RANK).to(torch.bfloat16)
    exact.load_state_dict(model.state_dict())
    with torch.no_grad():
        wanted, usual = exact.first(states.double()), model.first(states)
        ours = projected(states, [model.first])[0]
    assert ours.dtype == torch.bfloat16
    errors = [(one - wanted).square().mean().item() for one in (ours, usual)]
    assert errors[0] < 1.1 * errors[1] < 1e-4


def _with_second_adapter(model: Any) -> None:
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["first", "second"]), model, adapter_name="other")
    model.double()
    for layer in (model.first, model.second):
        layer.set_adapter(["default", "other"])


def _as_it_is(model: Any) -> None:
    pass


def _merged_and_off(model: Any) -> None:
    model.first.merge()
    model.first.enable_adapters(False)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"lora_dropout": 0.5}, _as_it_is),
        ({"use_dora": True}, _as_it_is),
        ({"lora_bias": True}, _as_it_is),
        ({}, _with_second_adapter),
        ({}, _merged_and_off),
    ],
    ids=["dropout", "dora", "bias", "two", "merged"],
)
def test_what_cannot_be_said_in_this_form_is_left_to_peft(
    settings: dict[str, Any], change: Callable[[Any], None]
) -> None:
    model = Peft(**settings)
    change(model)
    assert read(model.first) is None
    states = drawn(TOKENS, INPUTS, seed=0)
    both = []
    for first in (lambda: projected(states, [model.first])[0], lambda: model.first(states)):
        torch.manual_seed(3)
        both.append(first())
    assert torch.equal(*both)


def test_matrices_of_another_precision_are_left_to_peft() -> None:
    model = Peft()
    for part in (model.first.lora_A, model.first.lora_B):
        part.float()
    states = drawn(TOKENS, INPUTS, seed=0)
    assert torch.equal(projected(states, [model.first])[0], model.first(states))


@pytest.mark.parametrize("watched", ["first", "first.base_layer", "first.lora_A.default"])
def test_a_hook_is_called(watched: str) -> None:
    model = Peft()
    calls: list[str] = []
    model.get_submodule(watched).register_forward_hook(lambda *_: calls.append(watched))
    projected(drawn(TOKENS, INPUTS, seed=0), [model.first, model.second])
    assert calls == [watched]


def test_a_layer_is_read_as_it_computes_now() -> None:
    """Its adapter on, off, merged; with the scale that peft gives it, which rsLoRA divides by another root."""
    model = Peft()
    layer: Any = model.first
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    assert _same(read(layer), Projection(weight, bias, LowRank(down, up, 5 / RANK)))
    layer.enable_adapters(False)
    assert _same(read(layer), Projection(weight, bias))
    layer.enable_adapters(True)
    layer.merge()
    assert _same(read(layer), Projection(weight, bias))
    layer.unmerge()
    assert _same(read(layer), Projection(weight, bias, LowRank(down, up, 5 / RANK)))
    assert read(Peft(use_rslora=True).first).low_rank.scale == pytest.approx(5 / RANK**0.5, abs=1e-15)  # type: ignore[union-attr]
    assert read(Peft(lora_dropout=0.5).eval().first) is not None
    plain = nn.Linear(3, 4)
    assert _same(read(plain), Projection(plain.weight, plain.bias))
    assert read(nn.Sequential(plain)) is None


def _same(found: Projection | None, expected: Projection) -> bool:
    """Whether they are made of the very same tensors."""
    assert found is not None
    scales = [None if one.low_rank is None else one.low_rank.scale for one in (found, expected)]
    return scales[0] == scales[1] and all(
        one is other for one, other in zip(found.tensors, expected.tensors, strict=True)
    )
