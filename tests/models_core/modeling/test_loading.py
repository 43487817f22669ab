"""Models on disk: what is loaded is what was saved, and plain transformers reads the same scores."""

import gc
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig
from models_core.modeling import adapters, chat, loading
from models_core.modeling.forward import group_logits
from models_core.modeling.packing import Group
from tests.models_core.tiny import make_tiny_model

CPU = {"device": "cpu", "dtype": torch.float32}
MESSAGES = ({"role": "user", "content": "hi"},)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)


def test_a_policy_saved_and_loaded_is_the_same_to_the_bit(base, tmp_path):
    policy = loading.load_policy(base, **CPU)
    loading.save_policy(tmp_path / "model", policy, loading.load_tokenizer(base))
    again = loading.load_policy(tmp_path / "model", **CPU)
    ids = torch.tensor([[1, 5, 9, 30]])
    assert torch.equal(policy(ids).logits, again(ids).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_dropout_is_off_even_while_training(base):
    model = loading.load_policy(base, **CPU).train()
    ids = torch.tensor([[1, 5, 9, 30]])
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_plain_transformers_reads_the_same_scores_from_a_padded_batch(base, method, tmp_path):
    """The base pads with EOS; a reward model saved like that would be pooled one token too early."""
    tokenizer = loading.load_tokenizer(base)
    model = loading.new_reward_model(base, **CPU, seed=3)
    model = adapters.prepare(model, PPOConfig(method=method), tokenizer=tokenizer)
    with torch.no_grad():
        for weight in adapters.trainable(model).values():
            weight.add_(torch.randn_like(weight) * 0.05)
    prompt = chat.encode_prompt(tokenizer, MESSAGES, max_tokens=100)
    responses = [chat.encode_response(tokenizer, text) for text in ("a", "a longer answer", "")]
    (before,) = group_logits(model, [Group(prompt, responses)], budget=1000, device="cpu")
    loading.save_reward_model(
        tmp_path / "rm", adapters.merge_adapters(model), tokenizer, reward_shift=1.5, reward_scale=2
    )

    ours = loading.load_reward_model(tmp_path / "rm", **CPU)
    assert loading.reward_scale(ours) == (1.5, 2.0)
    (reloaded,) = group_logits(ours, [Group(prompt, responses)], budget=1000, device="cpu")
    torch.testing.assert_close(reloaded, before, atol=1e-5, rtol=1e-5)

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    padding = AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert padding.pad_token_id == plain.config.pad_token_id != padding.eos_token_id
    batch = padding.pad({"input_ids": [[*prompt, *response] for response in responses]}, return_tensors="pt")
    with torch.no_grad():
        logits = plain(**batch).logits.squeeze(1)
    torch.testing.assert_close(logits, torch.tensor(reloaded), atol=1e-5, rtol=1e-5)


def test_the_head_keeps_fp32_beside_a_bf16_trunk(base, tmp_path):
    model = loading.new_reward_model(base, device="cpu", dtype=torch.bfloat16, seed=1)
    weight = loading.head(model).weight.detach().clone()
    assert weight.dtype == torch.float32
    loading.save_reward_model(tmp_path / "rm", model, loading.load_tokenizer(base))
    again = loading.load_reward_model(tmp_path / "rm", device="cpu", dtype=torch.bfloat16)
    assert torch.equal(loading.head(again).weight, weight)


def test_a_fresh_head_depends_on_the_seed_alone(base):
    one, same, other = (loading.head(loading.new_reward_model(base, **CPU, seed=s)) for s in (1, 1, 2))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    assert one.bias is None


def test_a_smaller_head_is_the_same_head_scaled(base):
    whole, small = (
        loading.head(loading.new_reward_model(base, **CPU, seed=1, head_scale=scale)) for scale in (1.0, 0.1)
    )
    torch.testing.assert_close(small.weight, 0.1 * whole.weight)


def test_a_cut_trunk_keeps_the_first_layers_and_is_loaded_as_it_was_saved(base, tmp_path):
    whole = loading.new_reward_model(base, **CPU, seed=1)
    depth = whole.config.num_hidden_layers
    cut = loading.new_reward_model(base, **CPU, seed=1, trunk_layers=depth - 1)
    assert cut.config.num_hidden_layers == depth - 1
    kept = cut.state_dict()
    assert len(kept) < len(whole.state_dict())
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in kept.items())
    loading.save_reward_model(tmp_path / "rm", cut, loading.load_tokenizer(base))
    again = loading.load_reward_model(tmp_path / "rm", **CPU)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in kept.items())
    with pytest.raises(BadInput, match=f"trunk_layers is {depth + 1}, but .* has {depth} layers"):
        loading.new_reward_model(base, **CPU, seed=1, trunk_layers=depth + 1)


def test_one_kind_of_model_in_the_other_ones_place_is_refused(base, tmp_path):
    reward = loading.new_reward_model(base, **CPU, seed=0)
    loading.save_reward_model(tmp_path / "rm", reward, loading.load_tokenizer(base))
    with pytest.raises(BadInput, match="is a reward model where a language model is needed"):
        loading.load_policy(tmp_path / "rm", **CPU)
    with pytest.raises(BadInput, match="is a language model where a reward model is needed"):
        loading.load_reward_model(base, **CPU)
    assert loading.is_reward_model(tmp_path / "rm")
    assert not loading.is_reward_model(base)


def test_pickled_weights_are_refused(base, tmp_path):
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="no weights in safetensors format"):
        loading.load_policy(tmp_path, **CPU)


def test_torn_weights_are_refused_with_a_sentence(base, tmp_path):
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"damaged|cannot be loaded"):
        loading.load_policy(tmp_path, **CPU)


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "../absent", "a b", "x/y/z"])
def test_a_model_that_is_not_there(name):
    with pytest.raises(BadInput, match="There is no model folder"):
        loading.load_policy(name, **CPU)


def test_a_hub_out_of_reach_is_said_at_once(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BadInput, match="could not be had from the Hub: the Hub cannot be reached"):
        loading.load_policy("somebody/model", **CPU)


def test_a_folder_that_holds_no_model(tmp_path):
    with pytest.raises(BadInput, match=r"is not a model folder: it has no config\.json"):
        loading.load_policy(tmp_path, **CPU)


def test_code_that_a_folder_brings_is_never_run(base, tmp_path):
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open(__file__ + '.ran', 'w')")
    with pytest.raises(BadInput):
        loading.load_policy(tmp_path, **CPU)
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells of a process's own memory")
def test_weights_on_the_host_are_pages_of_the_file_which_processes_share(tmp_path: Path) -> None:
    """So that as many processes as a host has GPUs can load a model before they split it."""
    folder = tmp_path / "model"
    config = LlamaConfig(
        vocab_size=60_000, hidden_size=256, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert size > 30_000_000

    def own_memory() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])

    gc.collect()
    before = own_memory()
    model = loading.load_policy(folder, device="cpu", dtype=torch.bfloat16)
    assert model.get_input_embeddings().weight.shape == (60_000, 256)
    assert own_memory() - before < size / 2
