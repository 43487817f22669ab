"""Recorded steps that stay from one call of `sample` to the next, beside calls that record their own: the same.

As in test_static_steps, steps are recorded and replayed by `recorded_steps`, on a processor.
"""

import gc
import math
import weakref
from dataclasses import dataclass

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import AutoModelForCausalLM

from models_core.generation import generate
from models_core.generation.static_steps import kept_rows, step_runner, stretches
from models_core.generation.static_steps.step_runner import CapturedSteps
from models_core.modeling.adapters import merging
from models_core.modeling.operators import without_kernels
from tests.models_core.generation.recorded_steps import Captures
from tests.models_core.tiny import make_tiny_model

PROMPTS = [[1, 30, 40, 50], [7], [1, 99, 98, 97, 96, 95, 94, 93, 92]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(autouse=True)
def captures(monkeypatch):
    found = Captures()
    monkeypatch.setattr(kept_rows, "_kept", weakref.WeakKeyDictionary())
    monkeypatch.setattr(kept_rows, "_moving", weakref.WeakSet())
    monkeypatch.setattr("models_core.generation.static_steps.buckets.SLOTS", 16)
    monkeypatch.setattr(stretches, "STRETCH", 4)
    monkeypatch.setattr(step_runner, "for_device", lambda device: CapturedSteps(found))
    with without_kernels():
        yield found


def run(model, prompts=PROMPTS, **options):
    settings = {"samples": 2, "max_new_tokens": 12, "stop_ids": [], "seed": 0, "batch_size": 6} | options
    return generate.sample(model, prompts, **settings)


def anew(model, prompts=PROMPTS, **options):
    """What a call makes that finds nothing kept; what was kept stays so."""
    kept, kept_rows._kept = kept_rows._kept, weakref.WeakKeyDictionary()
    try:
        return run(model, prompts, **options)
    finally:
        kept_rows._kept = kept


def recorded_by(captures, model, prompts=PROMPTS, **options):
    """How many steps a call records; it must make what one makes that records all of its own, to the bit."""
    expected = anew(model, prompts, **options)
    before = captures.recorded
    assert run(model, prompts, **options) == expected
    return captures.recorded - before


def learn(model, seed):
    """An update in place, as an optimizer's."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)


def test_the_next_call_replays_what_the_first_recorded_over_weights_that_have_learned(model, captures):
    assert recorded_by(captures, model) > 0
    before = run(model, seed=1)
    learn(model, 1)
    assert recorded_by(captures, model, seed=1) == 0
    assert run(model, seed=1) != before
    # Shorter and fewer prompts fit into what there is.
    assert recorded_by(captures, model, PROMPTS[:2], samples=3) == 0


@dataclass(frozen=True)
class Values:
    head: nn.Linear

    def __call__(self, states):
        return self.head(states).squeeze(-1)

    def of(self, states):
        return self(states)


def test_ways_of_sampling_have_recorded_steps_of_their_own(model, captures):
    values = Values(nn.Linear(16, 1))
    ways = [{}, {"temperature": 0.0}, {"value_head": values.of}, {"max_new_tokens": 9}]
    for way in ways:
        assert recorded_by(captures, model, **way) > 0
        run(model, **way)  # what has come once is recorded when it comes again
    for way in ways:
        learn(model, 2)
        assert recorded_by(captures, model, **way) == 0
    assert recorded_by(captures, model, value_head=Values(nn.Linear(16, 1)).of) > 0  # another one
    # A function that nothing can be known of but itself: its steps are not kept.
    for _ in range(2):
        assert recorded_by(captures, model, value_head=lambda states: states.sum(1)) > 0


def test_what_does_not_fit_is_recorded_anew(model, captures, monkeypatch):
    recorded_by(captures, model)
    assert recorded_by(captures, model, [[3] * 40]) > 0
    assert recorded_by(captures, model, samples=5, batch_size=20) > 0
    monkeypatch.setattr(kept_rows, "KEPT_BYTES", 1000)
    for _ in range(2):
        assert recorded_by(captures, model, [[3] * 100]) > 0


@pytest.mark.parametrize("moved", ["data", "parameter", "dtype"])
def test_weights_that_have_moved_are_recorded_anew_and_not_kept_again(model, captures, moved):
    recorded_by(captures, model)
    linear = model.model.layers[1].mlp.down_proj
    if moved == "data":
        linear.weight.data = linear.weight.data * 1.5
    elif moved == "parameter":
        linear.weight = nn.Parameter(linear.weight.detach() * 1.5)
    else:
        model.double()
    for _ in range(2):
        assert recorded_by(captures, model) > 0


def test_numbers_that_were_not_finite_leave_nothing_behind(model, captures):
    for _ in range(2):
        run(model)
        run(model, PROMPTS[:2])
    ((kept,),) = (of_model.values() for of_model in kept_rows._kept.values())
    with torch.inference_mode():
        for layer in kept.rows.layers:
            layer.keys.fill_(math.nan)
            layer.values.fill_(math.nan)
    assert recorded_by(captures, model, PROMPTS[:2]) == 0


def test_nothing_keeps_a_model_alive(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    run(model)
    assert len(kept_rows._kept) == 1
    del model
    gc.collect()
    assert len(kept_rows._kept) == 0


def test_lora_is_merged_in_place_on_a_gpu_and_its_steps_stay(model, captures, monkeypatch):
    """As on a GPU: the base weights are theirs again afterwards, bit for bit, where they were."""
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False), model)
    model.model.peft_config = {}
    base = {name: weight for name, weight in model.named_parameters() if "lora_" not in name}
    before = {name: (weight.data_ptr(), weight.detach().clone()) for name, weight in base.items()}

    def sampled():
        with merging.merged_for_sampling(model):
            return recorded_by(captures, model), run(model)

    usual = sampled()[1]  # on a processor the sum stands elsewhere each time
    monkeypatch.setattr(merging, "is_accelerator", lambda device: True)
    monkeypatch.setattr(kept_rows, "_kept", weakref.WeakKeyDictionary())
    monkeypatch.setattr(kept_rows, "_moving", weakref.WeakSet())
    first, again = sampled(), sampled()
    assert first == (first[0], usual)
    assert first[0] > 0
    assert again == (0, usual)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.add_(0.3)
    learned = sampled()
    assert learned[0] == 0
    assert learned[1] != usual
    for name, weight in base.items():
        place, content = before[name]
        assert weight.data_ptr() == place
        assert torch.equal(weight, content)
