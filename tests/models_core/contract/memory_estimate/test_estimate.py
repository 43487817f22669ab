"""The memory plan: Llama's shapes worked out by hand, and the tensors that a real forward pass and optimizer keep."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models_core.contract.memory_estimate import model_shape, remedies
from models_core.contract.memory_estimate.estimate import Estimate, Period, activations, estimate, machine_of
from models_core.contract.memory_estimate.loaded_models import Machine
from models_core.contract.memory_estimate.model_shape import ModelShape
from models_core.contract.settings import STAGES, Settings, SFTConfig, parse
from models_core.modeling import adapters, forward, packing
from models_core.modeling.packing import Group
from models_core.training.optimizer import MasterAdamW

COMMON = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "1B": COMMON
    | {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "intermediate_size": 8192,
       "tie_word_embeddings": True},
    "8B": COMMON
    | {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 14336},
    "70B": COMMON
    | {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672},
}  # fmt: skip
PARAMETERS = {"1B": 1_235_814_400, "8B": 8_030_261_248, "70B": 70_553_706_496}
"""As Meta publishes them: Llama 3.2 1B, Llama 3.1 8B and 70B."""


def shape(name: str) -> ModelShape:
    return model_shape.of_config(SHAPES[name], name=name)


def planned(name: str, stage: str, *, gpus: int = 1, **values: Any) -> Estimate:
    settings = parse(STAGES[stage], values)
    return estimate(stage, settings, model=shape(name), on=machine_of(settings, gpus=gpus))


@pytest.mark.parametrize("name", list(SHAPES))
def test_parameters_are_those_that_were_published(name: str) -> None:
    assert shape(name).parameters == PARAMETERS[name]


def test_full_fine_tuning_of_1b_on_one_gpu() -> None:
    """A layer's token keeps 4 x 2048 + 2 x 2048 + 2 x 512 + 4 x 8192 = 46,080 numbers, 16 layers and three states more
    743,424: x 2 bytes x 2048 tokens. Logits: 523 x 128,256 x (2 + 2 + 4), and 2 x 262,668,288 x 2 of gradients; 2048 x
    128,256 x 2 bytes of probabilities are too many to be kept.
    """
    assert planned("1B", "sft", method="full").periods == (
        Period(
            name="update",
            weights=2 * PARAMETERS["1B"],
            masters_and_moments=(4 + 8) * PARAMETERS["1B"],
            gradients=(4 + 2) * PARAMETERS["1B"],
            activations=743_424 * 2 * 2048,
            logits=536_623_104 + 1_050_673_152,
        ),
    )
    assert planned("1B", "sft", method="full").total == 29_348_648_960


def test_recomputed_activations_are_a_state_a_layer_and_one_layer() -> None:
    """16 x 2048 + 46,080 + 3 x 2048 numbers a token."""
    (update,) = planned("1B", "sft", method="full", gradient_checkpointing=True).periods
    assert update.activations == 84_992 * 2 * 2048


def test_lora_of_8b_by_ppo_on_one_gpu() -> None:
    """Rank 16 in 32 layers of 81,920 inputs and outputs: 41,943,040 numbers learn. The reward model has no output
    layer: 525,336,576 fewer. Merged linear layers: 32 x 218,103,808. Cache: 64 rows x 1024 x 2 x 32 x 1024 x 2 bytes.
    """
    learned, policy, reward = 41_943_040, 2 * PARAMETERS["8B"], 2 * (PARAMETERS["8B"] - 525_336_576)
    sample, update = planned("8B", "ppo").periods
    assert sample.weights == policy + 2 * learned + reward + 2 * 32 * 218_103_808
    assert update.weights == policy + 2 * learned + reward
    assert (sample.masters_and_moments, update.masters_and_moments) == (16 * learned, 16 * learned)  # moving average
    assert (sample.gradients, update.gradients) == (0, 6 * learned)
    assert (sample.kv_cache, update.kv_cache) == (8_589_934_592, 0)


def test_a_small_cache_stays_beside_the_update() -> None:
    """32 rows x 1024 x 2 x 16 x 512 x 2 bytes; of 64 rows as many as may stay, of 128 more, which don't."""
    for rows, kept in ((32, 2**30), (64, 2**31), (128, 0)):
        sample, update = planned("1B", "ppo", batch_size=rows).periods
        assert (sample.kv_cache, update.kv_cache) == (rows * 2**25, kept)
    assert planned("1B", "ppo", batch_size=32, rollout_server="http://host").periods[-1].kv_cache == 0


def test_full_fine_tuning_of_8b_split_over_eight_gpus() -> None:
    """Layers: 32 x 218,112,000 numbers, of which a process has an eighth; 1,050,677,248 outside of them stay whole."""
    (update,) = planned("8B", "sft", method="full", gpus=8, parallel="fsdp").periods
    assert update.masters_and_moments == 12 * 872_448_000 + 12 * 1_050_677_248
    assert update.weights == 2 * 1_050_677_248 + 2 * 2 * 218_112_000  # two layers are whole at a time
    assert update.gradients == 4 * 872_448_000 + 2 * 218_112_000 + 6 * 1_050_677_248


def test_split_layers_are_whole_where_adapters_are_merged_and_where_dpo_asks_its_reference() -> None:
    """Both in bf16; elsewhere no GPU ever holds all layers: 70B learns on 64 of them that have 80 GB each."""
    _, merge = planned("8B", "sft", method="lora", gpus=8, parallel="fsdp").periods
    assert merge.weights == 2 * 872_448_000 + 2 * 1_050_677_248 + 2 * 32 * 218_112_000
    reference, _ = planned("8B", "dpo", method="full", gpus=8, parallel="fsdp").periods
    assert reference.total == 2 * PARAMETERS["8B"]
    large = planned("70B", "sft", method="full", gpus=64, parallel="fsdp", gradient_checkpointing=True)
    assert large.total < 80 * 2**30 * 0.93


def test_70b_in_four_bits() -> None:
    """80 x 855,638,016 numbers in linear layers at 4.127 bits, the other 2,102,665,216 in bf16."""
    (update,) = planned("70B", "sft", method="qlora").periods
    learned = 80 * 16 * 2 * (8192 + 8192) + 80 * 16 * (2 * (8192 + 1024) + 3 * (8192 + 28672))
    assert update.weights == pytest.approx(68_451_041_280 * 4.127 / 8 + 2 * 2_102_665_216 + 2 * learned, abs=1)


def test_ppo_holds_policy_reference_value_and_reward_model() -> None:
    reward = PARAMETERS["8B"] - 525_336_576
    (_, update) = planned("8B", "ppo", method="full").periods
    assert update.weights == 2 * (2 * PARAMETERS["8B"] + 2 * reward)
    assert update.masters_and_moments == 12 * (PARAMETERS["8B"] + reward)
    (_, grpo) = planned("8B", "ppo", method="full", algorithm="grpo").periods
    assert grpo.weights == 2 * (2 * PARAMETERS["8B"] + reward)


SMALL = model_shape.of_config(
    {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4,
     "num_key_value_heads": 2, "intermediate_size": 192, "vocab_size": 300, "tie_word_embeddings": True},
    name="small",
)  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_forward_pass_keeps_what_the_plan_says(method: str, precision: str) -> None:
    """Bytes of the tensors that autograd saves, without weights and the vocabulary's, within 10%."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, intermediate_size=192,
        vocab_size=300, tie_word_embeddings=True, max_position_embeddings=512,
    )  # fmt: skip
    network: Any = LlamaForCausalLM(config)
    network.to(dtype)
    settings = parse(SFTConfig, {"method": method, "lora_rank": 4, "max_length": 200})
    model = adapters.prepare(network, settings, tokenizer=None)
    packing.check(model.model)
    packed = packing.pack([Group([number], [[5] * 199]) for number in range(10)], device="cpu")
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape[-1:] != (300,):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        log_probs = forward.response_log_probs(model, packed)
    on = Machine(number_bytes=dtype.itemsize, is_cpu=True)
    # Attention by plain products keeps its weights in both precisions where there is no kernel for bf16.
    without = activations(SMALL, settings, tokens=2000, on=on)
    keeps_weights = precision == "bf16" and sum(kept.values()) > 1.2 * without
    if keeps_weights:
        without += 6 * 2000 * 4 * 200 * dtype.itemsize
    assert sum(kept.values()) == pytest.approx(without, rel=0.1)
    assert log_probs.requires_grad


def test_an_optimizer_holds_what_the_plan_says() -> None:
    model = torch.nn.Linear(30, 20, dtype=torch.bfloat16)
    optimizer = MasterAdamW(dict(model.named_parameters()), lr=0.1)
    held = [tensor for name, tensor in optimizer.state_dict().items() if not name.endswith(".step")]
    assert sum(tensor.nbytes for tensor in held) == 12 * 620


def fits(needs: dict[str, int], memory: int) -> remedies.Advice:
    """Advice where each of these settings saves so much of 100."""

    def of(settings: Settings, gpus: int) -> Estimate:
        defaults = parse(STAGES["ppo"], {"method": "full"})
        saved = sum(value for name, value in needs.items() if getattr(settings, name) != getattr(defaults, name))
        return Estimate(stage="ppo", periods=(Period(name="update", weights=100 - saved - 3 * (gpus - 2)),))

    return remedies.advise(parse(STAGES["ppo"], {"method": "full"}), gpus=2, memory=memory, estimate_of=of)


def test_settings_are_tried_in_order_and_needless_ones_left_out() -> None:
    needs = {"gradient_checkpointing": 10, "parallel": 20, "method": 40}
    assert fits(needs, 100).changes == {}
    assert fits(needs, 91).changes == {"gradient_checkpointing": True}
    assert fits(needs, 70).changes == {"gradient_checkpointing": True, "parallel": "fsdp"}
    assert fits(needs, 60).changes == {"method": "lora"}  # the first two save 30, which this one does without
    assert fits(needs, 40).changes == {"parallel": "fsdp", "method": "lora"}


def test_where_nothing_helps_it_says_how_many_gpus_would() -> None:
    advice = fits({"gradient_checkpointing": 10}, 80)
    assert (advice.changes, advice.tried, advice.gpus) == (None, {"gradient_checkpointing": True}, 8)
    huge = remedies.advise(
        parse(STAGES["sft"], {}),
        gpus=1,
        memory=1,
        estimate_of=lambda settings, gpus: Estimate(stage="sft", periods=(Period(name="load", weights=2),)),
    )
    assert (huge.changes, huge.gpus) == (None, None)


def test_the_proposed_settings_fit() -> None:
    settings = parse(STAGES["ppo"], {"method": "full"})

    def of(trial: Settings, gpus: int) -> Estimate:
        return estimate("ppo", trial, model=shape("8B"), on=machine_of(trial, gpus=gpus))

    assert of(settings, 8).total > 80e9
    advice = remedies.advise(settings, gpus=8, memory=80 * 10**9, estimate_of=of)
    assert advice.changes is not None
    assert advice.changes["parallel"] == "fsdp"
    assert of(parse(STAGES["ppo"], {"method": "full"} | advice.changes), 8).total == advice.estimate.total <= 80e9


def test_families_with_other_names_and_no_gate(tmp_path: Path) -> None:
    gpt2 = model_shape.of_config(
        {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}, name="gpt2"
    )
    # 124,439,808 with its biases and 1024 positions, which are left out
    assert gpt2.parameters == pytest.approx(124_439_808, rel=0.01)
    experts = model_shape.of_config(
        {"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000, "num_local_experts": 8},
        name="mixtral",
    )  # fmt: skip
    assert experts.parameters == pytest.approx(46_702_792_704, rel=0.001)
