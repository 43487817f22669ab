"""Decoding by compiled kernels: as near to fp32 as PyTorch is in bf16, and the same bits in every batch."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from models_core.cpu_kernels.decoding import eligibility
from models_core.cpu_kernels.decoding.paged_batch import PagedBatch
from models_core.generation import decoder as decoding_rows
from models_core.generation import generate
from models_core.generation.batch import Batch
from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions, sample_next
from models_core.modeling import operators

pytestmark = pytest.mark.usefixtures("bf16_products")

WIDTHS = {
    "vocab_size": 150, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256, "initializer_range": 0.15,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROPE = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WIDTHS, tie_word_embeddings=True)),
    "llama-biased": lambda: LlamaForCausalLM(LlamaConfig(**WIDTHS, attention_bias=True, mlp_bias=True)),
    "llama-3-rope": lambda: LlamaForCausalLM(LlamaConfig(**WIDTHS, rope_parameters=ROPE)),
    "llama-many-queries": lambda: LlamaForCausalLM(
        LlamaConfig(**(WIDTHS | {"num_attention_heads": 16, "num_key_value_heads": 1}))
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**WIDTHS, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**WIDTHS)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**WIDTHS)),
}
DRAWS = torch.Generator().manual_seed(3)
SHARED = torch.randint(5, 140, (40,), generator=DRAWS).tolist()  # more than a page, and not whole pages
PROMPTS = [[*SHARED, *torch.randint(5, 140, (count,), generator=DRAWS).tolist()] for count in (3, 1, 70, 20)]
APART = [[7, 8, 9], [20], [30 + row_id for row_id in range(33)]]


def made(name, *, dtype=torch.bfloat16):
    state = torch.get_rng_state()
    torch.manual_seed(4)
    model = MODELS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases are ones and zeros at first, which would hide a mistake
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    torch.set_rng_state(state)
    model.generation_config.eos_token_id = None
    return model.bfloat16().to(dtype).eval()


def opened(model, prompts, *, samples=2, steps=80, **options):
    row_ids = [
        RowId(prompt=number % len(prompts), number=number // len(prompts)) for number in range(len(prompts) * samples)
    ]
    begin = decoding_rows.batch_factory(model, prompts, rows=len(row_ids), max_new_tokens=steps, batches=1, **options)
    return begin, row_ids


def said(model, prompts, tokens, **options):
    """Logits before each of the tokens, which every row is made to say: [steps + 1, rows, V]."""
    begin, row_ids = opened(model, prompts, **options)
    with begin as open_batch:
        batch = open_batch(row_ids)
        logits = [batch.logits.float()]
        for token in tokens:
            batch.advance(torch.full((len(batch),), token))
            logits.append(batch.logits.float())
    return torch.stack(logits)


def by_transformers(model, prompts, tokens, *, samples=2):
    with torch.no_grad():
        own = [model(torch.tensor([[*ids, *tokens]])).logits[0, len(ids) - 1 :].float() for ids in prompts]
    return torch.stack(own * samples, dim=1)


@pytest.mark.parametrize("prompts", [PROMPTS, APART], ids=["alike", "apart"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_nearer_to_fp32_than_those_of_transformers_in_bf16(name, prompts):
    tokens = list(range(60, 110))  # several pages of responses
    expected = by_transformers(made(name, dtype=torch.float32), prompts, tokens)
    usual = (by_transformers(made(name), prompts, tokens) - expected).pow(2).mean().sqrt()
    ours = (said(made(name), prompts, tokens) - expected).pow(2).mean().sqrt()
    assert 0 < ours < 0.9 * usual
    assert usual < 0.03 * expected.std()


def kind_of_batch(model):
    begin, row_ids = opened(model, PROMPTS)
    with begin as new_batch:
        return type(new_batch(row_ids))


def test_models_that_the_kernels_do_not_know_are_decoded_by_torch():
    assert eligibility.fits(made("llama"))
    assert kind_of_batch(made("llama")) is PagedBatch
    narrow = LlamaForCausalLM(LlamaConfig(**(WIDTHS | {"head_dim": 16}))).bfloat16()
    window = MistralForCausalLM(MistralConfig(**WIDTHS, sliding_window=6)).bfloat16()
    gelu = LlamaForCausalLM(LlamaConfig(**WIDTHS, hidden_act="gelu")).bfloat16()
    assert not any(map(eligibility.fits, (made("llama", dtype=torch.float32), narrow, window, gelu)))
    assert kind_of_batch(narrow) is Batch


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_without_the_kernel_torch_decodes_nearly_as_near_to_fp32(name):
    tokens = list(range(60, 110))
    expected = by_transformers(made(name, dtype=torch.float32), PROMPTS, tokens)
    usual = (by_transformers(made(name), PROMPTS, tokens) - expected).pow(2).mean().sqrt()
    with operators.without_kernels("decoder"):
        assert kind_of_batch(made(name)) is Batch
        ours = (said(made(name), PROMPTS, tokens) - expected).pow(2).mean().sqrt()
    assert 0 < ours < 1.3 * usual


def drawn(model, prompts=PROMPTS, **options):
    settings = {"samples": 2, "max_new_tokens": 40, "stop_ids": [2, 3, 4], "seed": 1, "batch_size": 8} | options
    return generate.sample(model, prompts, **settings)


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"temperature": 0.0}, {"top_p": 0.9}])
def test_exact_responses_are_the_same_to_the_bit_in_any_batch_and_on_any_number_of_threads(how):
    together = drawn(made("qwen2"), batch_invariant=True, **how)
    assert drawn(made("qwen2"), batch_invariant=True, batch_size=3, **how) == together
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        (alone,) = drawn(made("qwen2"), only=[2], batch_invariant=True, **how)[2:3]
        backwards = drawn(made("qwen2"), list(reversed(PROMPTS)), only=[0], batch_invariant=True, **how)[0]
    finally:
        torch.set_num_threads(threads)
    assert alone == together[2]
    if "temperature" not in how:
        assert len({len(response.ids) for own in together for response in own}) > 2  # some left the batch before others
    if how.get("temperature") == 0.0:  # the likeliest response has nothing of its number among the prompts
        assert backwards == together[3]


@pytest.mark.parametrize(
    "how",
    [
        SamplingOptions(temperature=1.0),
        SamplingOptions(temperature=0.6),
        SamplingOptions(temperature=0.0),
        SamplingOptions(temperature=1.0, top_k=5),
        SamplingOptions(temperature=1.0, top_p=0.5),
        SamplingOptions(temperature=1.0, repetition_penalty=1.3),
    ],
)
@pytest.mark.parametrize("name", ["llama", "llama-biased"])
def test_draws_and_their_chances_are_those_of_the_logits(name, how):
    begin, row_ids = opened(made(name), PROMPTS, samples=12)
    with begin as open_batch:
        batch = open_batch(row_ids)
        for uniforms in (
            torch.rand(48, dtype=torch.float64, generator=DRAWS),
            torch.zeros(48),
            torch.ones(48) - 2**-24,
        ):
            tokens, found = batch.sample(uniforms, how)
            expected, logprobs = sample_next(batch.logits, batch.token_ids, uniforms, how)
            assert (tokens == expected).float().mean() > 0.97  # sums are taken in another order
            scores = (batch.logits.float() / (how.temperature or 1.0)).log_softmax(-1)
            if how.is_plain:
                torch.testing.assert_close(found.float(), scores.gather(1, tokens[:, None])[:, 0], atol=2e-5, rtol=1e-5)
            same = tokens == expected
            torch.testing.assert_close(found[same].float(), logprobs[same].float(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_values_are_those_of_the_states_that_the_tokens_are_drawn_from(name):
    """Nearer to fp32 than transformers in bf16, in rows that end at different times; the first is the prompt's."""
    weight = torch.randn(WIDTHS["hidden_size"], generator=torch.Generator().manual_seed(1))
    responses = generate.sample(
        made(name), PROMPTS, samples=2, max_new_tokens=40, stop_ids=list(range(3, 12)), seed=0, batch_size=8,
        value_head=lambda states: states.float() @ weight,
    )  # fmt: skip
    assert len({len(response.ids) for own in responses for response in own}) > 3
    ours, usual = [], []
    for prompt, own in zip(PROMPTS, responses, strict=True):
        for response in own:
            ids = torch.tensor([[*prompt, *response.ids]])
            with torch.no_grad():
                wide, narrow = (
                    made(name, dtype=dtype).base_model(ids).last_hidden_state[0, len(prompt) - 1 : -1].float() @ weight
                    for dtype in (torch.float32, torch.bfloat16)
                )
            ours.append(torch.tensor(response.values) - wide)
            usual.append(narrow - wide)
    worst = torch.cat(usual).pow(2).mean().sqrt()
    assert 0 < torch.cat(ours).pow(2).mean().sqrt() < 0.9 * worst


def test_rows_that_leave_disturb_no_other():
    tokens = list(range(60, 100))
    whole = said(made("llama"), PROMPTS, tokens)
    begin, row_ids = opened(made("llama"), PROMPTS)
    with begin as open_batch:
        batch = open_batch(row_ids)
        kept = torch.arange(8)
        for step, token in enumerate(tokens):
            if step % 7 == 3 and len(batch) > 1:
                over = [row == step % len(batch) for row in range(len(batch))]
                kept = kept[batch.remove_finished(over)]
                assert [row_id.prompt for row_id in batch.row_ids] == [row_ids[row].prompt for row in kept.tolist()]
            batch.advance(torch.full((len(batch),), token))
            assert torch.equal(batch.logits, whole[step + 1][kept])


def test_beams_become_each_other_in_the_middle_of_a_page():
    model = made("qwen3")
    responses = generate.search(
        model, PROMPTS, samples=3, num_beams=4, max_new_tokens=45, stop_ids=[2, 3], batch_size=8, length_penalty=0.5
    )
    for prompt, own in zip(PROMPTS, responses, strict=True):
        assert len({response.ids for response in own}) == 3
        for response in own:
            with torch.no_grad():
                logits = made("qwen3", dtype=torch.float32)(torch.tensor([[*prompt, *response.ids]])).logits[0]
            logprobs = logits[len(prompt) - 1 : -1].log_softmax(-1)[range(len(response.ids)), list(response.ids)]
            torch.testing.assert_close(torch.tensor(response.logprobs), logprobs, atol=0.15, rtol=0.05)


def test_a_model_that_is_let_go_answers_the_same_and_leaves_no_weight_behind():
    model = made("llama")
    usual = drawn(model)
    assert drawn(model, release=True) == usual
    assert model.model.layers[1].mlp.down_proj.weight.numel() == 0
