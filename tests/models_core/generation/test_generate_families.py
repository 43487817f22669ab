"""Sampling from models of every shape: transformers' own tokens, and the direct way through Llama-shaped ones."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from models_core.contract.errors import BadInput
from models_core.generation import batch, cached_model, generate, kv_cache
from models_core.generation.llama import packed_linear, torch_steps
from models_core.generation.llama.torch_steps import TorchLlama
from models_core.generation.token_history import RowId
from models_core.modeling.manual_autograd import install as kernels
from models_core.modeling.prefix import Prefix

WIDTHS = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 256, "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GROUPED = WIDTHS | {"num_key_value_heads": 2}
SHAPES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "llama-biased": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True)),
    "llama-3-rope": lambda: LlamaForCausalLM(
        LlamaConfig(
            **GROUPED,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
            },
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=None)),
    "mistral-window": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=6)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=16)),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**WIDTHS)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=120, n_embd=32, n_layer=3, n_head=4, n_positions=256, initializer_range=0.2)
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(vocab_size=120, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4,
                  word_embed_proj_dim=32, max_position_embeddings=256, init_std=0.2)
    ),
}  # fmt: skip
DIRECT = {"llama", "llama-biased", "llama-3-rope", "mistral", "qwen2", "qwen3"}
SHARED = list(range(20, 32))
PROMPTS = [[5, 6, 7], [8], [9, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99], [3, 4]]
ALIKE = [[*SHARED, *prompt] for prompt in PROMPTS]


def made(name, *, dtype=torch.float32):
    state = torch.get_rng_state()
    torch.manual_seed(4)
    model = SHAPES[name]().to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases are ones and zeros at first, which would hide a mistake
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    torch.set_rng_state(state)
    model.generation_config.eos_token_id = None
    return model


def draw(model, prompts=ALIKE, **options):
    settings = {"samples": 2, "max_new_tokens": 24, "stop_ids": [2, 3], "seed": 1, "batch_size": 8} | options
    return generate.sample(model, prompts, **settings)


def generated(model, prompt, *, stops, **options):
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), eos_token_id=stops, pad_token_id=0, do_sample=False, **options
    )
    return out[:, len(prompt) :].tolist()


def without_padding(ids, length):
    assert set(ids[length:]) <= {0, 2}  # beam search fills up with an end
    return tuple(ids[:length])


@pytest.mark.parametrize("prompts", [PROMPTS, ALIKE], ids=["apart", "alike"])
@pytest.mark.parametrize("name", SHAPES)
def test_greedy_choice_equals_generate(name, prompts):
    model = made(name)
    stops = [2, 3, 50, 51, 52]
    lengths = set()
    for prompt, (response,) in zip(
        prompts, draw(model, prompts, samples=1, temperature=0, stop_ids=stops), strict=True
    ):
        (expected,) = generated(model, prompt, stops=stops, max_new_tokens=24)
        assert response.ids == tuple(expected)
        lengths.add(len(response.ids))


@pytest.mark.parametrize("name", SHAPES)
def test_only_models_of_its_shape_go_the_direct_way(name):
    assert (TorchLlama.of(made(name), pack=False) is not None) == (name in DIRECT)


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_the_direct_way_equals_the_general_one(name, monkeypatch):
    """Full-size logits of prompts and steps in fp64, with rows of different lengths and a shared beginning."""
    model = made(name, dtype=torch.float64)
    row_ids = [RowId(prompt=number % 4, number=number // 4) for number in range(8)]
    logits = []
    for is_direct in (True, False):
        with torch.inference_mode(), kv_cache.decoding(model):
            rows = batch.Batch(
                cached_model.CachedModel(model, steps=1, fast=is_direct), ALIKE, row_ids, max_new_tokens=6
            )
            steps = [rows.logits]
            for token in range(40, 46):
                rows.advance(torch.full((8,), token))
                steps.append(rows.logits)
        logits.append(torch.stack(steps))
    # transformers takes the norms of an fp64 model in fp32.
    torch.testing.assert_close(logits[0], logits[1], atol=2e-5, rtol=1e-5)
    monkeypatch.setattr(torch_steps, "DIRECT_SCORES", 0)  # long prompts take torch's own attention
    with torch.inference_mode(), kv_cache.decoding(model):
        rows = batch.Batch(cached_model.CachedModel(model, steps=1), ALIKE, row_ids, max_new_tokens=6)
    torch.testing.assert_close(rows.logits, logits[0][0], atol=1e-10, rtol=1e-10)


def test_weights_in_another_order_give_the_same_bits():
    model = made("qwen2", dtype=torch.bfloat16)
    if not packed_linear.can_pack(model.lm_head.weight):
        pytest.skip("oneDNN multiplies no bf16 here: the processor has no AVX512-BF16, AVX512-BW or AMX")
    usual, packed = TorchLlama.of(model, pack=False), TorchLlama.of(model, pack=True)
    # Of other draws one in hundreds differs by one step of bf16, where oneDNN sums in another order.
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 7, 64):
        states = torch.randn(rows, 32, generator=generator).bfloat16()
        for one, other in zip(usual.layers, packed.layers, strict=True):
            assert torch.equal(one.query_key_value(states), other.query_key_value(states))
            # The activation and the sum round once less: closer to fp32, not the same bits.
            torch.testing.assert_close(other.gate_up(states), one.gate_up(states), atol=0.02, rtol=0.02)
            torch.testing.assert_close(
                other.output.add_to(states, states), one.output.add_to(states, states), atol=0.05, rtol=0.02
            )


@pytest.mark.parametrize("change", ["hook", "replaced", "lora", "merged", "kernels"])
def test_a_changed_model_goes_the_direct_way_only_where_that_computes_the_same(change):
    model = made("llama")
    layer = model.model.layers[1].self_attn
    if change == "hook":
        layer.register_forward_hook(lambda module, inputs, output: (output[0] * 0.5, *output[1:]))
    if change == "replaced":
        usual = layer.forward
        layer.forward = lambda *args, **kwargs: (usual(*args, **kwargs)[0] * 0.5, None)
    if change in ("lora", "merged"):
        wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
        if change == "merged":
            wrapped.merge_adapter()
    if change == "kernels":
        kernels.install(model.model)
    assert (TorchLlama.of(model, pack=False) is not None) == (change in ("merged", "kernels"))
    for prompt, (response,) in zip(ALIKE, draw(model, samples=1, temperature=0), strict=True):
        assert [list(response.ids)] == generated(model, prompt, stops=[2, 3], max_new_tokens=24)


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "opt"])
def test_responses_that_fill_several_blocks_of_the_cache_go_on_as_before(name, monkeypatch):
    """Rows leave and beams change places in the middle of a block."""
    model = made(name)
    usual = draw(model, max_new_tokens=40), found(model)
    monkeypatch.setattr(kv_cache, "BLOCK", 4)
    monkeypatch.setattr(batch, "BLOCK", 4)
    in_blocks = draw(model, max_new_tokens=40), found(model)
    for one, other in zip(usual, in_blocks, strict=True):
        assert [[item.ids for item in own] for own in one] == [[item.ids for item in own] for own in other]


def found(model):
    return generate.search(model, ALIKE, samples=2, num_beams=3, max_new_tokens=20, stop_ids=[2, 3, 4], batch_size=12)


@pytest.mark.parametrize("penalty", [1.3, 0.8])
@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_a_repetition_penalty_equals_that_of_generate(name, penalty):
    model = made(name)
    usual = draw(model, samples=1, temperature=0)
    responses = draw(model, samples=1, temperature=0, repetition_penalty=penalty)
    for prompt, (response,) in zip(ALIKE, responses, strict=True):
        assert [list(response.ids)] == generated(
            model, prompt, stops=[2, 3], max_new_tokens=24, repetition_penalty=penalty
        )
    assert responses != usual


@pytest.mark.parametrize(
    "settings", [{}, {"length_penalty": 0.0}, {"length_penalty": 2.0}, {"repetition_penalty": 1.2}]
)
@pytest.mark.parametrize("name", ["llama", "gpt-neox"])
def test_beam_search_equals_that_of_generate(name, settings):
    model = made(name)
    stops = [2, 3, 50, 51, 52, 60, 61, 62, 63, 64]
    responses = generate.search(
        model, ALIKE, samples=3, num_beams=4, max_new_tokens=16, stop_ids=stops, batch_size=8, **settings
    )
    reasons = set()
    for prompt, own in zip(ALIKE, responses, strict=True):
        expected = generated(
            model, prompt, stops=stops, max_new_tokens=16, num_beams=4, num_return_sequences=3, **settings
        )
        assert [response.ids for response in own] == [
            without_padding(ids, len(response.ids)) for ids, response in zip(expected, own, strict=True)
        ]
        reasons |= {response.finish_reason for response in own}
    assert "stop" in reasons


def test_a_beams_logprobs_are_those_of_the_model():
    model = made("qwen2")
    ((response,),) = generate.search(
        model, ALIKE[:1], samples=1, num_beams=3, max_new_tokens=8, stop_ids=[2], batch_size=4
    )
    with torch.no_grad():
        logits = model(torch.tensor([[*ALIKE[0], *response.ids]])).logits[0, len(ALIKE[0]) - 1 : -1]
    expected = logits.log_softmax(-1)[range(len(response.ids)), list(response.ids)]
    torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-5, rtol=1e-5)


def test_fewer_beams_than_responses_are_refused():
    with pytest.raises(ValueError, match="4 samples cannot come from 3 beams"):
        generate.search(made("llama"), ALIKE, samples=4, num_beams=3, max_new_tokens=4, stop_ids=[], batch_size=8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt-neox", "gpt2"])
def test_exact_responses_are_the_same_to_the_bit_in_any_batch(name, dtype):
    model = made(name, dtype=dtype)
    together = draw(model, batch_invariant=True)
    alone = [draw(model, only=[number], batch_invariant=True)[number] for number in range(len(ALIKE))]
    backwards = draw(model, list(reversed(ALIKE)), only=[0], batch_invariant=True)
    assert together == alone
    assert len(backwards[0]) == 2
    assert {len(response.ids) for own in together for response in own} != {24}  # some ended early


def test_exact_is_refused_where_attention_has_a_form_of_its_own():
    with pytest.raises(BadInput, match="batch_invariant=true does not work for a MistralForCausalLM"):
        draw(made("mistral-window"), batch_invariant=True)


@pytest.mark.parametrize("batch_invariant", [False, True])
@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_a_beginning_is_as_if_the_prompts_began_with_its_tokens(name, batch_invariant):
    model = made(name)
    virtual = [70, 71, 72, 73]
    with torch.no_grad():
        cache = model(torch.tensor([virtual]), use_cache=True).past_key_values
    prefix = Prefix.of(cache)
    assert (prefix.length, prefix.shift) == (4, 4)
    for prompts in (PROMPTS, ALIKE):
        written = draw(model, [[*virtual, *prompt] for prompt in prompts], batch_invariant=batch_invariant)
        virtually = draw(model, prompts, batch_invariant=batch_invariant, prefix=prefix)
        assert [[item.ids for item in own] for own in virtually] == [[item.ids for item in own] for own in written]
    found = [
        generate.search(model, prompts, samples=1, num_beams=3, max_new_tokens=9, stop_ids=[2], batch_size=9, **options)
        for prompts, options in (
            (PROMPTS, {"prefix": prefix}),
            ([[*virtual, *prompt] for prompt in PROMPTS], {}),
        )
    ]
    assert [own[0].ids for own in found[0]] == [own[0].ids for own in found[1]]


def test_a_model_that_is_let_go_answers_the_same_and_holds_no_layer_twice():
    model = made("qwen2", dtype=torch.bfloat16)
    weight = model.model.layers[0].mlp.up_proj.weight
    usual = draw(model)
    assert draw(model, release=True) == usual
    assert (weight.numel() == 0) == packed_linear.can_pack(model.lm_head.weight)


def test_only_some_prompts_are_answered_as_they_would_be_among_all():
    model = made("llama")
    every, some = draw(model), draw(model, only=[3, 1])
    assert [len(own) for own in some] == [0, 2, 0, 2]
    assert [item.ids for own in (some[1], some[3]) for item in own] == [
        item.ids for own in (every[1], every[3]) for item in own
    ]


def test_responses_are_handed_over_prompt_by_prompt_while_others_go_on():
    model = made("llama")
    order = []
    responses = draw(
        model,
        finished=lambda number, own: order.append((number, len(own), tuple(own))),
        progress=lambda done, total: order.append((done, total)),
        batch_size=3,
    )
    handed = {entry[0]: entry[2] for entry in order if len(entry) == 3}
    assert handed == {number: tuple(own) for number, own in enumerate(responses)}
    assert order[-1] == (8, 8)
    assert len(order[0]) == 3 or order[0][0] < 8
