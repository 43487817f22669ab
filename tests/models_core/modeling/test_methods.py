"""Which weights learn under each method, what is switched off, and what merging leaves behind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from models_core.contract.errors import BadInput
from models_core.contract.settings import METHODS, RewardConfig, SFTConfig, parse
from models_core.modeling import adapters, loading
from models_core.modeling.adapters import prompt_encoders
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.packing import Group, hidden_states, pack
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import ADDING, SMALL, prepared

ROWS = [Group([5, 6, 7, 8], [[9, 10], [11]]), Group([20, 21], [[22, 23, 24]])]
VIRTUAL = ("prompt", "p_tuning", "p_tuning_v2", "prefix")
MERGING = ("lora", "qlora", "ia3")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("llama"))


def states(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hidden_states(trunk(model), pack(ROWS, sharing="always"))


def plain(base: Path, method: str = "full", *, dtype: torch.dtype = torch.float32) -> Any:
    return loading.load_policy(base, device="cpu", dtype=dtype, quantise=method == "qlora")


def test_full_is_every_weight_once(base: Path) -> None:
    model = prepared(base, "full")
    assert adapters.trainable_parameters(model) == sum(weight.numel() for weight in model.parameters())


def test_last_n_is_the_last_layers_and_the_norm_after_them(base: Path) -> None:
    names = list(adapters.trainable(prepared(base, "last_n")))
    assert all(".1." in name or "norm" in name or "ln_f" in name for name in names), names
    assert any(".1." in name for name in names)
    assert any(name.endswith(("model.norm.weight", "ln_f.weight")) for name in names)


@pytest.mark.parametrize("method", ADDING)
def test_what_a_method_adds_is_all_that_learns(method: str, base: Path) -> None:
    own = {name for name, _ in plain(base).named_parameters()}
    learning = adapters.trainable(prepared(base, method))
    assert learning
    assert not own & set(learning)


@pytest.mark.parametrize("method", METHODS)
def test_a_reward_models_head_learns_under_every_method(method: str, base: Path) -> None:
    assert loading.head(prepared(base, method, dtype=torch.float32, reward=True)).weight.requires_grad


@pytest.mark.parametrize(
    ("method", "numbers"),
    [
        # 2 layers, width 16, 2 key heads of size 4, MLP of width 32.
        ("lora", 2 * 2 * ((16 + 16) * 2 + (16 + 8) * 2 + (16 + 32) * 3)),
        ("ia3", 2 * (8 + 8 + 32)),
        ("adapter", 2 * 2 * (16 * 3 + 3 + 3 * 16 + 16)),
        ("prompt", 5 * 16),
        ("p_tuning_v2", 2 * 2 * 2 * 5 * 4),
        ("prefix", 5 * 8 + (8 * 512 + 512) + (512 * 32 + 32)),
    ],
)
def test_the_number_of_parameters_by_hand(method: str, numbers: int, llama: Path) -> None:
    model = prepared(llama, method)
    assert adapters.trainable_parameters(model) == numbers
    total = sum(weight.numel() for weight in model.parameters())
    said = f"LlamaForCausalLM: the method {method} trains {numbers:,} of {total:,} parameters ({numbers / total:.2%})."
    assert adapters.parameter_summary(model) == said
    assert adapters.trainable_parameters(adapters.merge_adapters(model)) == numbers


@pytest.mark.parametrize("method", ["lora", "adapter", "ia3", "qlora"])
def test_a_method_beside_the_weights_starts_as_the_model_was(method: str, base: Path) -> None:
    before = states(plain(base, method))
    model = prepared(base, method, dtype=torch.float32, shake=0.0)
    assert torch.equal(states(model), before)


def test_virtual_tokens_start_as_a_text_in_front(base: Path) -> None:
    """All four are the same function at first: the model that has read the beginning of a sentence."""
    results = [states(prepared(base, method, shake=0.0)) for method in VIRTUAL]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-6)
    text = loading.load_tokenizer(base)("This is a")["input_ids"][:5]
    row = torch.tensor([[*text, 20, 21, 22, 23, 24]])
    model = plain(base, dtype=torch.float64)
    with torch.no_grad():
        expected = trunk(model)(input_ids=row).last_hidden_state[0, 5:]
    torch.testing.assert_close(results[0][-5:], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ADDING)
def test_a_method_turns_off_to_the_model_that_was_there_before(method: str, base: Path) -> None:
    before = states(plain(base, method))
    model = prepared(base, method, dtype=torch.float32)
    learned = states(model)
    assert not torch.equal(learned, before)
    with adapters.adapter_off(model):
        assert torch.equal(states(model), before)
    assert torch.equal(states(model), learned)
    assert adapters.trainable(model)


@pytest.mark.parametrize("method", ADDING)
def test_a_reward_models_head_turns_off_with_the_rest(method: str, base: Path) -> None:
    model = prepared(base, method, dtype=torch.float32, reward=True, shake=0.0)
    before = loading.head(model).weight.detach().clone()
    with torch.no_grad():
        loading.head(model).weight.add_(1.0)
    with adapters.adapter_off(model):
        assert torch.equal(loading.head(model).weight, before)
    assert torch.equal(loading.head(model).weight, before + 1.0)


@pytest.mark.parametrize("method", ["full", "last_n"])
def test_trained_weights_cannot_be_turned_off(method: str, base: Path) -> None:
    with pytest.raises(TypeError, match="nothing to switch off"), adapters.adapter_off(prepared(base, method)):
        pass


@pytest.mark.parametrize("method", METHODS)
def test_a_merged_model_computes_the_same(method: str, base: Path) -> None:
    model = prepared(base, method)
    learned = states(model)
    model = adapters.merge_adapters(model)
    torch.testing.assert_close(states(model), learned, rtol=1e-5, atol=1e-5)
    names = [name for name, _ in model.named_parameters()]
    assert not any("lora" in name or "ia3" in name or "encoder" in name for name in names), names
    assert not any(isinstance(part, BaseTunerLayer) for part in model.modules())


@pytest.mark.parametrize("method", MERGING)
def test_merging_in_bf16_keeps_what_bf16_would_lose(method: str, base: Path) -> None:
    """An update of a thousandth is less than half of bf16's step: the exact weights have it, their copies may not."""
    model = prepared(base, method, dtype=torch.bfloat16, shake=0.0)
    with torch.no_grad():
        for name, weight in adapters.trainable(model).items():
            weight.fill_(1.0078125 if "ia3" in name else 0.001)
    model = adapters.merge_adapters(model)
    start = plain(base).state_dict()
    assert model.exact_weights
    for name, exact in model.exact_weights.items():
        assert exact.dtype == torch.float32
        assert torch.equal(model.get_parameter(name), exact.to(torch.bfloat16))
    down = next(name for name in model.exact_weights if name.endswith(("mlp.down_proj.weight", "mlp.c_proj.weight")))
    moved = (model.exact_weights[down] - start[down]).abs()
    expected = start[down].abs() * 0.0078125 if method == "ia3" else torch.full_like(moved, 2 * 2 * 0.001**2)
    if method != "qlora":  # whose base is not the one on disk
        torch.testing.assert_close(moved, expected, rtol=0.02, atol=1e-7)


def test_a_second_training_builds_on_the_exact_weights_of_the_first(llama: Path, tmp_path: Path) -> None:
    """Round after round of updates too small for bf16 must add up."""
    tokenizer = loading.load_tokenizer(llama)
    source = llama
    for number in range(3):
        model = prepared(source, "lora", dtype=torch.bfloat16, shake=0.0)
        with torch.no_grad():
            for weight in adapters.trainable(model).values():
                weight.fill_(0.004)
        source = tmp_path / str(number) / "model"
        loading.save_policy(source, adapters.merge_adapters(model), tokenizer)
    first, last = (plain(folder, dtype=torch.float32).state_dict() for folder in (llama, source))
    name = "model.layers.0.self_attn.q_proj.weight"
    # Rank 2, alpha 4: each round adds 2 * 2 * 0.004 * 0.004, and 0.004 is 0.00399780 in bf16.
    expected = first[name] + 3 * 4 * 0.0039978**2
    torch.testing.assert_close(last[name], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_merging_for_sampling_computes_the_same_and_leaves_no_trace(method: str, base: Path) -> None:
    model = prepared(base, method)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    expected = states(model)
    with adapters.merged_for_sampling(model):
        merged = [part.merged for part in model.modules() if isinstance(part, BaseTunerLayer)]
        torch.testing.assert_close(states(model), expected, rtol=1e-5, atol=1e-5)
    assert all(merged) == (method != "qlora")
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert torch.equal(states(model), expected)


def test_a_method_has_its_own_learning_rate_unless_one_is_given() -> None:
    assert parse(SFTConfig, {}).learning_rate == 2e-5
    assert parse(SFTConfig, {"method": "lora"}).learning_rate == pytest.approx(2e-4)
    assert parse(RewardConfig, {"method": "lora"}).learning_rate == pytest.approx(6e-4)
    assert parse(SFTConfig, {"method": "prompt", "learning_rate": "0.5"}).learning_rate == 0.5


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("adapter", "needs layers made of an attention block and an MLP"),
        ("ia3", "knows the layers of Llama-, GPT-2- and GPT-NeoX-shaped models"),
        ("last_n", "needs a stack of layers"),
    ],
)
def test_a_model_of_unknown_shape_is_refused(method: str, reason: str, llama: Path) -> None:
    model: Any = plain(llama)
    for number, layer in enumerate(model.model.layers):
        layer.__class__ = torch.nn.Module
        layer.feed_forward = layer._modules.pop("mlp")
        model.model.layers[number] = layer
    if method == "last_n":
        model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(BadInput, match=reason):
        adapters.prepare(model, parse(SFTConfig, {"method": method, **SMALL}), tokenizer=None)


def test_more_virtual_tokens_than_there_is_room_for_are_refused(llama: Path) -> None:
    with pytest.raises(BadInput, match="virtual_tokens is 500, but the model has room for 496 beside a text"):
        prepared(llama, "prompt", virtual_tokens=500)


@pytest.mark.parametrize("method", ["prefix", "p_tuning_v2"])
def test_layers_without_keys_and_values_are_refused(method: str, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = plain(llama)
    model.config.num_hidden_layers = 3  # one more than have any: as in models that mix attention with other layers
    settings = parse(SFTConfig, {"method": method, **SMALL})
    with pytest.raises(BadInput, match=f"The method {method} needs keys and values of one shape in every layer"):
        adapters.prepare(model, settings, tokenizer=loading.load_tokenizer(llama))


def test_qlora_without_bitsandbytes_says_what_to_install(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_core.modeling.adapters.quantised.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"need the package bitsandbytes: pip install 'hone\[qlora\]'"):
        plain(llama, "qlora")


def test_qlora_in_double_precision_is_refused(llama: Path) -> None:
    with pytest.raises(BadInput, match=r"in bf16, fp16 or fp32, not in torch.float64"):
        plain(llama, "qlora", dtype=torch.float64)


def test_context_is_shorter_by_the_virtual_tokens(llama: Path) -> None:
    assert loading.context_length(prepared(llama, "prefix")) == 512 - 5
    assert loading.context_length(prepared(llama, "lora")) == 512


def test_virtual_tokens_are_made_by_the_papers_networks_that_start_at_zero():
    """An LSTM that reads both ways, and two layers; peft has other networks under the same names."""
    table = torch.randn(5, 8)
    made = prompt_encoders.lstm(table)
    assert [part.bidirectional for part in made.modules() if isinstance(part, torch.nn.LSTM)] == [True]
    assert torch.equal(made(torch.arange(5)), torch.zeros(5, 8))
    stacked = torch.randn(3, 2, 2, 5, 4)
    projected = prompt_encoders.projection(stacked)
    assert sum(isinstance(part, torch.nn.Linear) for part in projected.modules()) == 2
    assert torch.equal(projected(torch.arange(5)), torch.zeros(5, 3 * 2 * 2 * 4))
