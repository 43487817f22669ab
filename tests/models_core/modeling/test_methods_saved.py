"""Models on disk under every method: what is loaded computes the very bits of what was saved, or nothing is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaForSequenceClassification

from models_core.contract.errors import BadInput
from models_core.contract.settings import METHODS, SFTConfig, parse
from models_core.modeling import adapters, loading
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.forward import group_logits
from models_core.modeling.packing import Group, hidden_states, pack
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import SMALL, prepared

ROWS = [Group([5, 6, 7, 8], [[9, 10], [11]]), Group([20, 21], [[22, 23, 24]])]
BESIDE = ("adapter", "prefix", "prompt", "p_tuning", "p_tuning_v2")
"""Methods whose result lies beside the model."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base"))


def states(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hidden_states(trunk(model), pack(ROWS, sharing="always"))


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> Any:
    return loading.load_policy(folder, device="cpu", dtype=dtype)


def saved(base: Path, run: Path, method: str, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Save a merged policy as a run does; returns what it computes."""
    model = adapters.merge_adapters(prepared(base, method, dtype=dtype))
    loading.save_policy(run / "model", model, loading.load_tokenizer(base))
    (run / "run.json").write_text("{}")
    return states(model)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_a_policy_computes_the_same_bits_after_reloading(
    method: str, dtype: torch.dtype, kind: str, base: Path, tmp_path: Path
) -> None:
    if kind != "llama":
        base = make_tiny_model(tmp_path / kind, kind=kind)
    before = saved(base, tmp_path / "run", method, dtype=dtype)
    for name in ("run", "run/model"):
        assert torch.equal(states(load(tmp_path / name, dtype=dtype)), before)
    assert (tmp_path / "run" / "adapter").is_dir() == (method in BESIDE)


@pytest.mark.parametrize("method", METHODS)
def test_a_reward_model_gives_the_same_scores_after_reloading(method: str, base: Path, tmp_path: Path) -> None:
    model = adapters.merge_adapters(prepared(base, method, dtype=torch.bfloat16, reward=True))
    before = group_logits(model, ROWS, budget=1000, device="cpu")
    tokenizer = loading.load_tokenizer(base)
    loading.save_reward_model(tmp_path / "run" / "model", model, tokenizer, reward_shift=0.5, reward_scale=2.0)
    again = loading.load_reward_model(tmp_path / "run" / "model", device="cpu", dtype=torch.bfloat16)
    assert group_logits(again, ROWS, budget=1000, device="cpu") == before
    assert torch.equal(loading.head(again).weight, loading.head(model).weight)
    assert loading.reward_scale(again) == (0.5, 2.0)


@pytest.mark.parametrize("method", BESIDE)
def test_a_model_without_its_adapter_is_refused(method: str, base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "run", method)
    shutil.copytree(tmp_path / "run" / "model", tmp_path / "elsewhere" / "model")
    with pytest.raises(BadInput, match=r"was fine-tuned with an adapter, and that is missing: copy adapter/ to"):
        load(tmp_path / "elsewhere" / "model")


def test_another_adapter_in_its_place_is_refused(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "one", "prompt")
    saved(base, tmp_path / "other", "adapter")
    shutil.rmtree(tmp_path / "one" / "adapter")
    shutil.copytree(tmp_path / "other" / "adapter", tmp_path / "one" / "adapter")
    with pytest.raises(BadInput, match=r"is not the one that .* was saved with \(SHA-256 differs\)"):
        load(tmp_path / "one")


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"format": 2}', "its format is 2, and 1 is known"),
        ('{"format": 1, "bottleneck": {"width": 3}}', "it lacks layers.0.mlp.bottleneck"),
        ('{"format": 1, "bottleneck": {"width": "x"}}', "invalid literal"),
    ],
)
def test_a_damaged_adapter_is_refused_with_a_sentence(
    description: str, reason: str, base: Path, tmp_path: Path
) -> None:
    saved(base, tmp_path / "run", "prompt")
    (tmp_path / "run" / "adapter" / "adapter.json").write_text(description)
    with pytest.raises(BadInput, match=rf"The adapter in .*run/adapter cannot be used with this model: .*{reason}"):
        load(tmp_path / "run")


def test_a_run_without_a_model_yet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadInput, match="has not made a model yet"):
        load(tmp_path)


def test_the_adapter_of_an_older_model_goes_when_the_folder_is_written_anew(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "run", "prompt")
    before = saved(base, tmp_path / "run", "lora")
    assert not (tmp_path / "run" / "adapter").exists()
    assert "hone_adapter" not in json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert torch.equal(states(load(tmp_path / "run")), before)


@pytest.mark.parametrize("method", BESIDE)
def test_training_goes_on_from_what_was_learned_and_turns_off_to_it(method: str, base: Path, tmp_path: Path) -> None:
    before = saved(base, tmp_path / "run", method)
    untouched = prepared(tmp_path / "run", method, dtype=torch.float32, shake=0.0)
    assert torch.equal(states(untouched), before)
    trained = prepared(tmp_path / "run", method, dtype=torch.float32)
    assert not torch.allclose(states(trained), before)
    with adapters.adapter_off(trained):
        assert torch.equal(states(trained), before)


@pytest.mark.parametrize("further", ["full", "lora", "ia3", "adapter", "prefix"])
@pytest.mark.parametrize("first", ["prompt", "adapter"])
def test_another_method_on_top_keeps_the_first_ones_part(first: str, further: str, base: Path, tmp_path: Path) -> None:
    before = saved(base, tmp_path / "first", first)
    model = prepared(tmp_path / "first", further, dtype=torch.float32)
    if further != "full":
        with adapters.adapter_off(model):
            # As keys and values, the virtual tokens are no longer computed with the rest.
            torch.testing.assert_close(states(model), before, rtol=1e-5, atol=1e-5)
    after = states(model)
    model = adapters.merge_adapters(model)
    merged = states(model)
    torch.testing.assert_close(merged, after, rtol=1e-4, atol=1e-5)
    loading.save_policy(tmp_path / "second" / "model", model, loading.load_tokenizer(base))
    assert torch.equal(states(load(tmp_path / "second" / "model")), merged)


def test_keys_and_values_do_not_become_embeddings_again(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "run", "prefix")
    with pytest.raises(BadInput, match="has learned keys and values in every layer, which the method prompt cannot"):
        prepared(tmp_path / "run", "prompt")


@pytest.mark.parametrize("method", BESIDE)
def test_a_reward_model_starts_from_a_policy_with_its_adapter(method: str, base: Path, tmp_path: Path) -> None:
    before = saved(base, tmp_path / "run", method)
    given: dict[str, Any] = {"device": "cpu", "dtype": torch.float32, "seed": 0}
    reward = loading.new_reward_model(tmp_path / "run", **given)
    assert torch.equal(states(reward), before)
    cut = loading.new_reward_model(tmp_path / "run", **given, trunk_layers=1)
    adapters.prepare(cut, parse(SFTConfig, {"method": "last_n", **SMALL}), tokenizer=None)
    first = states(cut)
    loading.save_reward_model(tmp_path / "cut" / "model", adapters.merge_adapters(cut), loading.load_tokenizer(base))
    again = loading.load_reward_model(tmp_path / "cut" / "model", device="cpu", dtype=torch.float32)
    assert torch.equal(states(again), first)


@pytest.mark.parametrize("method", BESIDE)
def test_plain_transformers_raises_rather_than_load_the_base_model_for_a_tuned_one(
    method: str, base: Path, tmp_path: Path
) -> None:
    saved(base, tmp_path / "policy", method)
    started = loading.new_reward_model(base, device="cpu", dtype=torch.float32, seed=0)
    settings = parse(SFTConfig, SMALL | {"method": method})
    model = adapters.prepare(started, settings, tokenizer=loading.load_tokenizer(base))
    loading.save_reward_model(
        tmp_path / "reward" / "model", adapters.merge_adapters(model), loading.load_tokenizer(base)
    )
    for kind, name in (
        (AutoModelForCausalLM, "policy"),
        (AutoModelForSequenceClassification, "reward"),
        (LlamaForSequenceClassification, "reward"),
    ):
        folder = tmp_path / name / "model"
        with pytest.raises(OSError, match=r"no file named model\.safetensors"):
            kind.from_pretrained(folder)
        assert "raises, so that nobody takes the base model for this one" in (folder / "README.md").read_text()
        kind.from_pretrained(folder, variant="without_adapter")
    loading.load_reward_model(tmp_path / "reward" / "model", device="cpu", dtype=torch.float32)
