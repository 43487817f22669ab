"""Sampling: the tokens of transformers' own loop, the distribution of the model, and no row disturbing another."""

import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.generation import generate
from models_core.generation.token_sampling import sample_tokens
from tests.models_core.tiny import make_tiny_model

BEGINNING = [1, 87, 85, 71, 84, 201, 74, 75, 40]  # long enough to be computed once for all prompts
PROMPTS = [[1, 30, 40, 50], [7], [1, 99, 98, 97, 96, 95, 94, 93, 92], [5, 6]]
SHARING = [[*BEGINNING, *prompt] for prompt in PROMPTS]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def run(model, prompts, **options):
    settings = {"samples": 1, "max_new_tokens": 12, "stop_ids": [], "seed": 0, "batch_size": 8} | options
    return generate.sample(model, prompts, **settings)


def full_logits(model, prompt, sample):
    """Slow second implementation: one uncached, unpadded pass over prompt and response; the response's logits."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *sample.ids]])).logits[0]
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize("prompts", [PROMPTS, SHARING], ids=["apart", "sharing"])
def test_greedy_choice_equals_generate_of_transformers(model, prompts):
    responses = run(model, prompts, temperature=0.0, stop_ids=[2], max_new_tokens=20)
    for prompt, (response,) in zip(prompts, responses, strict=True):
        ids = torch.tensor([prompt])
        expected = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, eos_token_id=2, pad_token_id=2
        )
        assert list(response.ids) == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("prompts", [PROMPTS, SHARING], ids=["apart", "sharing"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_a_full_forward_pass(model, prompts, temperature):
    responses = run(model, prompts, temperature=temperature, samples=3, batch_size=6)
    for prompt, own in zip(prompts, responses, strict=True):
        for response in own:
            logprobs = torch.log_softmax(full_logits(model, prompt, response) / temperature, dim=-1)
            expected = logprobs[range(len(response.ids)), list(response.ids)]
            torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_invariant", [False, True])
def test_values_are_those_of_the_states_that_the_tokens_are_drawn_from(model, batch_invariant):
    """In rows of a prompt and of none, that end at different times; the first token's state is the prompt's last."""
    weight = torch.randn(model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    stops = [response.ids[4] for (response,) in run(model, SHARING)[:2]]
    how = {"samples": 2, "stop_ids": stops, "batch_invariant": batch_invariant}
    responses = run(model, SHARING, value_head=lambda states: states @ weight, **how)
    assert responses != run(model, SHARING, **how)
    assert [[response.ids for response in own] for own in responses] == [
        [response.ids for response in own] for own in run(model, SHARING, **how)
    ]
    assert len({len(response.ids) for own in responses for response in own}) > 1
    for prompt, own in zip(SHARING, responses, strict=True):
        for response in own:
            with torch.no_grad():
                states = model.base_model(torch.tensor([[*prompt, *response.ids]])).last_hidden_state[0]
            expected = (states @ weight)[len(prompt) - 1 : -1]
            torch.testing.assert_close(torch.tensor(response.values), expected, atol=1e-4, rtol=1e-4)


def test_nothing_has_a_value_where_none_is_asked_for(model):
    assert run(model, PROMPTS[:1])[0][0].values == ()


def test_a_response_does_not_depend_on_the_batch(model):
    together = run(model, SHARING, samples=2, batch_size=8)
    assert [[response.ids for response in own] for own in together] == [
        [response.ids for response in own] for own in run(model, SHARING, samples=2, batch_size=1)
    ]
    assert together[0][0].ids != together[0][1].ids


def test_another_seed_gives_other_responses(model):
    assert run(model, PROMPTS)[0][0].ids == run(model, PROMPTS)[0][0].ids
    assert run(model, PROMPTS)[0][0].ids != run(model, PROMPTS, seed=1)[0][0].ids


def test_rows_that_end_leave_and_the_others_go_on_undisturbed(model):
    endless = run(model, SHARING, samples=4, max_new_tokens=30)
    stops = sorted(
        {response.ids[8] for own in endless for response in own} | {response.ids[3] for response in endless[1]}
    )
    ended = run(model, SHARING, samples=4, max_new_tokens=30, stop_ids=stops)
    reasons = []
    for own, whole in zip(ended, endless, strict=True):
        for response, same in zip(own, whole, strict=True):
            first = next(row_id for row_id, token in enumerate(same.ids) if token in stops)
            assert response.ids == same.ids[: first + 1]
            assert response.finish_reason == "stop"
            reasons.append(first)
    assert len(set(reasons)) > 3
    assert {response.finish_reason for own in endless for response in own} == {"length"}


def test_a_stop_id_as_the_last_token_allowed_counts_as_stop(model):
    third = run(model, PROMPTS[:1], max_new_tokens=3)[0][0].ids[2]
    (response,) = run(model, PROMPTS[:1], max_new_tokens=3, stop_ids=[third])[0]
    assert response.finish_reason == "stop"


def test_progress_counts_responses_and_a_stop_is_heeded_between_two_tokens(model):
    seen = []
    run(model, PROMPTS, samples=2, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 8), (8, 8)]
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Stopped):
        run(model, PROMPTS, stop=stop)


def test_a_prompt_without_room_for_its_response_is_refused(model):
    with pytest.raises(ValueError, match="512 tokens"):
        run(model, [[3] * 512])
    with pytest.raises(ValueError, match="a prompt of 0 tokens"):
        run(model, [[]])


def test_training_mode_and_attention_are_put_back(model):
    attention = model.config._attn_implementation
    model.train()
    run(model, PROMPTS[:1])
    assert model.training
    assert model.config._attn_implementation == attention
    model.eval()


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    count = 100_000
    uniforms = torch.from_numpy(numpy.random.default_rng(0).random(count))
    tokens, logprobs = sample_tokens(probabilities.log().expand(count, -1), uniforms, temperature=1.0)
    seen = torch.bincount(tokens, minlength=4) / count
    torch.testing.assert_close(seen, probabilities, atol=0.006, rtol=0)
    torch.testing.assert_close(logprobs, probabilities.log()[tokens])


def test_a_draw_inverts_the_running_sum_across_blocks():
    """600 equal tokens, three blocks: the number u falls on token floor(600 u)."""
    uniforms = torch.tensor([0.0, 0.4999, 0.5001, 0.9999999999999999], dtype=torch.float64)
    tokens, logprobs = sample_tokens(torch.zeros(4, 600), uniforms, temperature=1.0)
    assert tokens.tolist() == [0, 299, 300, 599]
    torch.testing.assert_close(logprobs.exp(), torch.full((4,), 1 / 600))


def test_a_token_without_weight_is_never_drawn():
    logits = torch.full((3, 700), -torch.inf)
    logits[:, [300, 301]] = 0.0
    tokens, _ = sample_tokens(logits, torch.tensor([0.0, 0.5, 1 - 1e-16], dtype=torch.float64), temperature=1.0)
    assert tokens.tolist() == [300, 301, 301]


LADDER = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()


def drawn_set(**options):
    uniforms = torch.linspace(0, 1 - 1e-9, 500, dtype=torch.float64)
    tokens, logprobs = sample_tokens(LADDER.expand(500, -1), uniforms, **options)
    return {token: round(logprob.exp().item(), 4) for token, logprob in zip(tokens.tolist(), logprobs, strict=True)}


def test_top_k_keeps_the_likeliest_and_renormalises():
    assert drawn_set(temperature=1.0, top_k=2) == {1: 0.5714, 3: 0.4286}


def test_top_p_keeps_the_smallest_set_that_holds_it():
    assert drawn_set(temperature=1.0, top_p=0.65) == {1: 0.5714, 3: 0.4286}
    assert drawn_set(temperature=1.0, top_p=0.75) == {1: 0.4444, 2: 0.2222, 3: 0.3333}
    assert drawn_set(temperature=1.0, top_p=0.0) == {1: 1.0}


def test_top_p_is_measured_after_top_k():
    """Among the two likeliest, 4/7 and 3/7, the first alone holds a half."""
    assert drawn_set(temperature=1.0, top_k=2, top_p=0.5) == {1: 1.0}


def test_temperature_sharpens_before_anything_is_cut():
    assert drawn_set(temperature=0.5) == {0: 0.0333, 1: 0.5333, 2: 0.1333, 3: 0.3}


def test_temperature_zero_is_the_likeliest_token_with_its_own_probability():
    assert drawn_set(temperature=0) == {1: 0.4}
