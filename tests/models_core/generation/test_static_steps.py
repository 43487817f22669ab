"""Sampling by steps of fixed shapes, as a GPU replays them, beside the loop that looks at each step: the same.

Everything but the graph itself runs here: a step is recorded and replayed by `recorded_steps`.
"""

import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.generation import batch, generate
from models_core.generation.llama.torch_steps import masked_attention
from models_core.generation.static_steps import kept_rows, step_runner, stretches
from models_core.generation.static_steps.buckets import row_bucket, slot_bucket
from models_core.generation.static_steps.step_runner import CapturedSteps
from models_core.modeling.operators import without_kernels
from models_core.modeling.prefix import Prefix
from tests.models_core.generation.recorded_steps import Captures
from tests.models_core.tiny import make_tiny_model

BEGINNING = [1, 87, 85, 71, 84, 201, 74, 75, 40]
PROMPTS = [[1, 30, 40, 50], [7], [1, 99, 98, 97, 96, 95, 94, 93, 92], [5, 6], [8, 9, 10]]
SHARING = [[*BEGINNING, *prompt] for prompt in PROMPTS]
LIMIT = 40


@pytest.fixture(scope="module", params=["llama", "qwen"])
def model(request, tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(autouse=True)
def _plain_torch():
    with without_kernels():
        yield


@pytest.fixture
def captures(monkeypatch):
    """From when it is `on`, steps are recorded and replayed; short stretches, and buckets of few slots."""
    found = Captures()
    monkeypatch.setattr(kept_rows, "_kept", weakref.WeakKeyDictionary())
    monkeypatch.setattr("models_core.generation.static_steps.buckets.SLOTS", 16)
    monkeypatch.setattr(stretches, "STRETCH", 4)

    def on():
        monkeypatch.setattr(step_runner, "for_device", lambda device: CapturedSteps(found))
        return found

    found.on = on
    return found


def run(model, prompts, **options):
    settings = {"samples": 2, "max_new_tokens": LIMIT, "stop_ids": [], "seed": 0, "batch_size": 6} | options
    return generate.sample(model, prompts, **settings)


def some_stops(model, prompts, **options):
    """Ids at which some responses end early, and at different times."""
    endless = run(model, prompts, **options)
    return sorted({endless[0][0].ids[9], endless[1][1].ids[17], endless[3][0].ids[0]})


def assert_same(found, expected):
    assert [[(one.ids, one.finish_reason) for one in own] for own in found] == [
        [(one.ids, one.finish_reason) for one in own] for own in expected
    ]
    for name in ("logprobs", "values"):
        ours, theirs = ([torch.tensor(getattr(one, name)) for own in each for one in own] for each in (found, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.0},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
        {"repetition_penalty": 1.3},
    ],
    ids=["plain", "greedy", "cut", "penalised"],
)
@pytest.mark.parametrize("prompts", [PROMPTS, SHARING], ids=["apart", "sharing"])
def test_responses_are_those_of_the_loop_that_looks_at_each_step(model, prompts, options, captures):
    options = options | {"stop_ids": some_stops(model, prompts, **options)}
    expected = run(model, prompts, **options)
    assert len({len(one.ids) for own in expected for one in own}) > 3
    captures.on()
    assert_same(run(model, prompts, **options), expected)
    # Four batches of at most six rows: more steps were replayed than recorded.
    assert captures.replayed > captures.recorded > 3


def test_values_are_those_of_the_loop_that_looks_at_each_step(model, captures):
    weight = torch.randn(model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    options = {"stop_ids": some_stops(model, SHARING), "value_head": lambda states: states @ weight}
    expected = run(model, SHARING, **options)
    captures.on()
    assert_same(run(model, SHARING, **options), expected)
    assert expected[0][0].values != ()


def test_a_prefix_is_seen_as_before(captures):
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=97, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2,
    )  # fmt: skip
    network = LlamaForCausalLM(config).eval()
    prompts = [[each % 97 for each in prompt] for prompt in PROMPTS]
    with torch.no_grad():
        cache = network(torch.tensor([[3, 1, 4, 1, 5]]), use_cache=True).past_key_values
    prefix = Prefix.of(cache)
    expected = run(network, prompts, prefix=prefix)
    assert expected != run(network, prompts)
    found = captures.on()
    assert_same(run(network, prompts, prefix=prefix), expected)
    assert found.replayed


def test_the_rest_of_a_batch_goes_on_in_a_smaller_bucket(model, captures, monkeypatch):
    sizes = []
    usual = stretches.StaticRows.advance
    monkeypatch.setattr(stretches.StaticRows, "advance", lambda rows: (sizes.append(rows.in_use), usual(rows)))
    options = {"samples": 8, "batch_size": 40}
    endless = run(model, PROMPTS, **options)
    options["stop_ids"] = sorted({one.ids[step] for own in endless for one in own[:3] for step in (2, 7, 13)})
    expected = run(model, PROMPTS, **options)
    captures.on()
    assert_same(run(model, PROMPTS, **options), expected)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 64
    assert len(set(sizes)) >= 3
    # A row that has ended is taken out at a look, every fourth step.
    assert all(sizes[step] == sizes[step - 1] for step in range(1, len(sizes)) if step % 4 != 3)


def test_a_stop_id_as_the_last_token_allowed_counts_as_stop(model, captures):
    third = run(model, PROMPTS[:1], max_new_tokens=3)[0][0].ids[2]
    captures.on()
    assert run(model, PROMPTS[:1], max_new_tokens=3, stop_ids=[third])[0][0].finish_reason == "stop"
    assert run(model, PROMPTS[:1], max_new_tokens=3)[0][0].finish_reason == "length"
    assert len(run(model, PROMPTS[:1], max_new_tokens=1)[0][0].ids) == 1


def test_a_stream_has_each_token_of_the_rows_in_flight(model, captures):
    def streams(**options):
        heard = []
        run(model, PROMPTS, streamed=lambda row_ids, ids: heard.append(tellings(row_ids, ids)), **options)
        return heard

    def tellings(row_ids, ids):
        return {(row_id.prompt, row_id.number): row for row_id, row in zip(row_ids, ids.tolist(), strict=True)}

    stops = some_stops(model, PROMPTS)
    expected = streams(stop_ids=stops)
    captures.on()
    assert streams(stop_ids=stops) == expected


def test_a_stop_is_heeded_between_two_steps(model, captures):
    stop, longest = StopSignal(), 0

    def stopped_at(length):
        nonlocal longest
        longest = length
        stop.requested = length == 5

    captures.on()
    with pytest.raises(Stopped):
        run(model, PROMPTS, stop=stop, streamed=lambda row_ids, ids: stopped_at(ids.shape[1]))
    assert longest == 5


def test_what_a_graph_cannot_hold_is_computed_without(model, captures, capsys):
    expected = run(model, PROMPTS, value_head=lambda states: states.sum(dim=1))
    captures.on()
    read_back = run(model, PROMPTS, value_head=lambda states: states.sum(dim=1) + 0 * float(states[0, 0]))
    assert_same(read_back, expected)
    said = capsys.readouterr().err
    assert said.count("Decoding goes on without CUDA graphs") == 1
    assert "not permitted when stream is capturing" in said
    assert not captures.replayed


def test_beams_and_other_families_go_step_by_step(model, captures, tmp_path):
    found = captures.on()
    generate.search(
        model, PROMPTS[:2], samples=1, num_beams=2, max_new_tokens=4, stop_ids=[], batch_size=4
    )  # fmt: skip
    other = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path / "gpt2", kind="gpt2")).eval()
    run(other, PROMPTS[:2], max_new_tokens=4)
    assert not found.recorded


def test_a_processor_computes_step_by_step():
    assert step_runner.for_device(torch.device("cpu")) is None


def test_a_cuda_graph_is_recorded_in_one_pool_and_replayed(monkeypatch):
    """torch's own functions are stood in for: what they are called with, and in which order."""
    seen = []

    class Graph:
        def replay(self):
            seen.append("replayed")

    @contextmanager
    def recording(graph, *, pool, capture_error_mode):
        seen.append((type(graph).__name__, pool, capture_error_mode))
        yield
        seen.append("recorded")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 7))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    runner = step_runner.for_device(torch.device("cuda"))
    for key in ("a", "a", "a", "b", "b"):
        runner(key, lambda: seen.append("computed"))
    recorded = [("Graph", (0, 7), "thread_local"), "computed", "recorded", "replayed"]
    assert seen == ["computed", *recorded, "replayed", "computed", *recorded]


def test_buckets():
    assert [row_bucket(rows) for rows in (1, 2, 3, 8, 9, 129, 256, 257, 600)] == [1, 2, 4, 8, 16, 256, 256, 512, 768]
    assert [slot_bucket(slots) for slots in (1, 128, 129, 290)] == [128, 128, 256, 384]


def test_prompts_on_a_gpu_are_computed_many_at_once_and_without_groups_of_heads():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    networks = [(cuda, None, {"logits_to_keep": 1}), (cuda, object(), {}), (cuda, None, {}), (cpu, object(), {})]
    tokens = [
        batch._prefill_tokens(SimpleNamespace(device=device, fast=fast, kept=kept)) for device, fast, kept in networks
    ]
    assert tokens == [16_384, 16_384, 512, 512]  # logits of every prompt token would fill the memory
    query, keys, values = torch.randn(2, 6, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool).tril(2)
    grouped, repeated = (
        masked_attention(query, keys, values, mask=mask, scale=0.3, grouped=each) for each in (True, False)
    )
    torch.testing.assert_close(grouped, repeated)
