"""Which weights learn under each method."""

import pytest
import torch
from peft.tuners.lora import LoraLayer

from models_core import language_models, methods
from models_core.config import SFTConfig

from .tiny import make_tiny_model

CPU = {"device": "cpu", "dtype": torch.float32}
IDS = torch.tensor([[1, 5, 9, 30]])


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)


def shaken(model):
    with torch.no_grad():
        for weight in methods.trainable(model).values():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def test_full_is_every_weight_once(base):
    model = methods.prepare(language_models.load_policy(base, **CPU), SFTConfig(method="full"))
    assert methods.trainable_parameters(model) == sum(weight.numel() for weight in model.parameters())


def test_last_n_is_the_last_layers_and_the_norm_after_them(base):
    model = methods.prepare(language_models.load_policy(base, **CPU), SFTConfig(method="last_n", last_layers=1))
    names = list(methods.trainable(model))
    assert all(".1." in name or "norm" in name or "ln_f" in name for name in names), names
    assert any(".1." in name for name in names)
    assert any(name.endswith(("model.norm.weight", "ln_f.weight")) for name in names)


def test_a_reward_models_head_learns_under_every_method(base):
    for method in ("full", "last_n", "lora"):
        model = language_models.new_reward_model(base, **CPU, seed=0)
        model = methods.prepare(model, SFTConfig(method=method))
        assert language_models.head(model).weight.requires_grad, method


def test_lora_starts_as_its_base_and_turns_off_to_it(base):
    plain = language_models.load_policy(base, **CPU)(IDS).logits
    model = methods.prepare(language_models.load_policy(base, **CPU), SFTConfig(method="lora", lora_rank=2))
    assert torch.equal(model(IDS).logits, plain)
    shaken(model)
    assert not torch.equal(model(IDS).logits, plain)
    with methods.adapter_off(model):
        assert torch.equal(model(IDS).logits, plain)
    assert all("lora" in name for name in methods.trainable(model))


def test_a_merged_adapter_computes_the_same(base):
    model = shaken(methods.prepare(language_models.load_policy(base, **CPU), SFTConfig(method="lora")))
    with torch.no_grad():
        expected = model(IDS).logits
        merged = methods.merged(model)
        torch.testing.assert_close(merged(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    assert not any("lora" in name for name, _ in merged.named_parameters())


def test_merging_for_sampling_computes_the_same_and_leaves_no_trace(base):
    model = shaken(methods.prepare(language_models.load_policy(base, **CPU), SFTConfig(method="lora")))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    expected = model(IDS).logits
    with methods.merged_for_sampling(model):
        inside = [part.merged for part in model.modules() if isinstance(part, LoraLayer)]
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    assert inside
    assert all(inside)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert torch.equal(model(IDS).logits, expected)


def test_only_lora_has_an_adapter_to_turn_off(base):
    with pytest.raises(TypeError), methods.adapter_off(language_models.load_policy(base, **CPU)):
        pass
